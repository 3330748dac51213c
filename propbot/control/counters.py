"""Small facts that must survive a restart beside the mode: the day's highest equity, until when a venue banned us.

Written by whoever measures them, kept in `runtime_state.json` with the mode. Values are text: whoever reads one parses
it and says "unknown" to nonsense.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, field


@define(eq=False)
class Counters:
    """Synchronous; durable with the next save of the state, a second later at most."""

    _values: dict[str, str] = field(factory=dict)

    def get(self, name: str) -> str | None:
        return self._values.get(name)

    def put(self, name: str, value: str | None) -> None:
        """None forgets it."""
        if value is None:
            self._values.pop(name, None)
        else:
            self._values[name] = value

    def load(self, values: Mapping[str, str]) -> None:
        """What an earlier life left."""
        self._values.update(values)

    def all(self) -> Mapping[str, str]:
        """A copy."""
        return dict(self._values)
