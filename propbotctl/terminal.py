"""What tables are printed on. Imported where one is printed: rich takes its time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

GAP = 2
"""Between two columns; one blank stands after the last."""
SENTENCE = 16
"""What is wider holds one."""


class Terminal(Console):
    def on_broken_pipe(self) -> None:
        """rich would end the process with 1, as if something were wrong; `reader_may_leave` knows better."""
        raise BrokenPipeError


def open_terminal() -> Terminal:
    return Terminal(highlight=False)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    terminal = open_terminal()
    shown = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    widths = fit_widths(columns, rows, terminal.width + 1 - GAP * len(columns))
    for name, width in zip(columns, widths, strict=True):
        shown.add_column(name, overflow="fold", width=width)
    for row in rows:
        shown.add_row(*map(Text, row))
    terminal.print(shown)


def fit_widths(titles: Sequence[str], rows: Sequence[Sequence[str]], available: int) -> list[int]:
    """One a column. Where there is too little room, first titles that are longer than what stands below them give way,
    then cells between their words, and only then is a word or a number broken. The widest gives way, and of those that
    hold no sentence the last: one that wraps makes fewer lines than two."""
    columns = list(zip(titles, *rows, strict=True))
    title_words = [_longest_word((title,)) for title in titles]
    whole = [max(title, *map(cell_len, cells)) for title, (_, *cells) in zip(title_words, columns, strict=True)]
    words = [max(title, _longest_word(cells)) for title, (_, *cells) in zip(title_words, columns, strict=True)]
    widths = [max(map(cell_len, column)) for column in columns]
    for least in (whole, words, [1] * len(widths)):
        while sum(widths) > available:
            roomy = [at for at in range(len(widths)) if widths[at] > least[at]]
            if not roomy:
                break
            widths[max(roomy, key=lambda at: (max(widths[at], SENTENCE), at))] -= 1
    return widths


def _longest_word(texts: Iterable[str]) -> int:
    return max((cell_len(word) for text in texts for word in text.split()), default=0)
