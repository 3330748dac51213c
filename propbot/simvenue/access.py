"""How to reach a running host of embedded venues: the one JSON line that `propbot venues` prints (DESIGN section 5)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import trio
from attrs import field, frozen

from propbot.domain.instruments import VenueId
from propbot.simvenue.engine_api import Engine
from propbot.simvenue.faults import FaultBox
from propbot.simvenue.keys import AccountKeys
from propbot.simvenue.trace import VenueTrace

_VENUE_FIELDS = ("rest", "ws", "ws_api", "api_key", "api_secret")


@frozen
class VenueAccess:
    """One venue: base addresses without a path (but `ws_api`, which has its own), and the account's keys."""

    rest: str
    ws: str
    ws_api: str
    api_key: str = field(repr=False)
    api_secret: str = field(repr=False)


@frozen
class Inside:
    """The host's own parts, for tests and simulations that run in its process."""

    engines: Mapping[VenueId, Engine]
    faults: FaultBox
    trace: VenueTrace
    keys: Mapping[VenueId, AccountKeys]


@frozen
class HostAccess:
    """Everything that a client of the host needs."""

    ca_file: Path | None
    """Whom to trust; None where nothing is encrypted (in memory)."""
    admin: str
    venues: Mapping[VenueId, VenueAccess]
    ended: trio.Event = field(factory=trio.Event, eq=False)
    """Set, in the host's own process, when a recording has come to its end. Elsewhere the admin port tells."""
    inside: Inside | None = field(default=None, eq=False, repr=False)
    """In the host's own process only."""

    def to_json(self) -> str:
        return json.dumps(
            {
                "ca_file": None if self.ca_file is None else str(self.ca_file),
                "admin": self.admin,
                "venues": {
                    venue: {name: getattr(access, name) for name in _VENUE_FIELDS}
                    for venue, access in self.venues.items()
                },
            }
        )

    @classmethod
    def from_json(cls, text: str) -> HostAccess:
        """ValueError names the field that is missing or wrong."""
        try:
            content = json.loads(text)
        except ValueError as error:
            raise ValueError(f"not the JSON line of `propbot venues`: {error}") from None
        if not isinstance(content, dict):
            raise ValueError("not the JSON line of `propbot venues`: not an object")
        ca_file = content.get("ca_file")
        if ca_file is not None and not isinstance(ca_file, str):
            raise ValueError(f"ca_file: not a path: {ca_file!r}")
        venues = content.get("venues")
        if not isinstance(venues, dict):
            raise ValueError(f"venues: not an object: {venues!r}")
        return cls(
            None if ca_file is None else Path(ca_file),
            _text(content, "admin", ""),
            {VenueId(venue): _read_venue(venue, access) for venue, access in venues.items()},
        )


def _read_venue(venue: str, access: Any) -> VenueAccess:
    if not isinstance(access, dict):
        raise ValueError(f"venues.{venue}: not an object: {access!r}")
    return VenueAccess(*(_text(access, name, f"venues.{venue}.") for name in _VENUE_FIELDS))


def _text(content: Mapping[str, Any], name: str, where: str) -> str:
    value = content.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{where}{name}: missing, or not a text")
    return value
