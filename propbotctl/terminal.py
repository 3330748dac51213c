"""What tables are printed on. Imported where one is printed: rich takes its time."""

from __future__ import annotations

from rich.console import Console


class Terminal(Console):
    def on_broken_pipe(self) -> None:
        """rich would end the process with 1, as if something were wrong; `reader_may_leave` knows better."""
        raise BrokenPipeError


def open_terminal() -> Terminal:
    return Terminal(highlight=False)
