"""GET /api/ui/events/export: the journal as one file, newest first, as CSV (RFC 4180) or as a JSON array.

The file is read, written and sent slice by slice, and the next slice is read when the last one has left: a hundred
thousand rows take the memory of one hundred, and whoever reads slowly waits for himself alone. A slice is so short
that an order's intent, which needs the same worker, hardly waits for it.

What goes wrong before the first byte is an ordinary error; later the connection is cut, so that half a file never
passes for a whole one.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import trio
from quart import Blueprint, Response, request
from quart_schema import document_querystring, document_response

from propbot.api import models, rows
from propbot.api.bodies import ExportArgs
from propbot.api.describe import describe
from propbot.api.lists import EVENT, READ_S_MAX
from propbot.api.long_answers import CutShort, LongBody
from propbot.api.query import ExportQuery, read_export
from propbot.api.replies import json_text
from propbot.domain.clock import iso_utc
from propbot.domain.errors import LedgerError
from propbot.domain.events import EventRow, canonical_details
from propbot.status.desk import Desk

SLICE_ROWS = 100
"""A millisecond and a half of the ledger's worker, and one of the event loop: 37 000 rows a second of CPU, measured."""
COLUMNS = ("id", "ts", "level", "kind", "venue", "symbol", "source", "message", "details")
CSV_EXAMPLE = (
    ",".join(COLUMNS) + "\r\n"
    '42,2026-11-23T03:12:09.123Z,WARN,feed,binance-um,BTCUSDT,,book stale,"{""age_s"":""1.6""}"\r\n'
)
_CONTENT_TYPES = {"csv": "text/csv; charset=utf-8; header=present", "json": "application/json"}
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What makes a spreadsheet compute a cell instead of showing it."""


def export_routes(desk: Desk, closing: trio.Event) -> Blueprint:
    routes = Blueprint("export", __name__)

    @routes.get("/api/ui/events/export")
    @describe(answers={200: [EVENT]}, texts={"text/csv": CSV_EXAMPLE}, refuses=(503,))
    @document_querystring(ExportArgs)
    @document_response(models.EventArray)
    async def export_events() -> Response:
        """The journal as a file, newest first.

        CSV, or with `format=json` a bare array of the list's items. To go on where one file ended, its last id is the
        next one's `cursor`. What fails after the first byte cuts the connection: half a file never passes for a whole
        one."""
        query = read_export(request.args)
        body = ExportBody(desk, query, closing)
        await body.read_slice()  # what fails now is an error with a status
        at = iso_utc(desk.now_ns())[:19].replace("-", "").replace(":", "")
        name = f"propbot-events-{at}Z.{query.format}"
        response = Response(
            "" if request.method == "HEAD" else body, content_type=_CONTENT_TYPES[query.format],
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )
        response.timeout = None  # as long as it takes; each read and each write has its own deadline
        return response

    return routes


class ExportBody(LongBody):
    """One slice is in memory at a time."""

    def __init__(self, desk: Desk, query: ExportQuery, closing: trio.Event) -> None:
        self._desk = desk
        self._query = query
        self._closing = closing
        self._slice: Sequence[EventRow] = ()
        self._left = query.page.limit
        self._cursor = query.page.cursor
        self._more = True
        self._begun = False
        self._make = write_csv if query.format == "csv" else write_json

    async def read_slice(self) -> None:
        """LedgerError, or TooSlowError after `READ_S_MAX`."""
        with trio.fail_after(READ_S_MAX):
            self._slice, self._cursor = await self._desk.events(
                min(SLICE_ROWS, self._left), self._cursor, self._query.wanted
            )
        self._left -= len(self._slice)
        self._more = self._left > 0 and self._cursor is not None

    async def make_piece(self) -> bytes | None:
        if self._closing.is_set():
            raise CutShort("the service stops")
        if self._begun:
            if not self._more:
                return None
            await self._read_or_cut()
        first, self._begun = not self._begun, True
        return self._make(self._slice, first, not self._more).encode()

    async def _read_or_cut(self) -> None:
        try:
            await self.read_slice()
        except (LedgerError, trio.TooSlowError) as error:
            raise CutShort(f"an export could not be read to its end: {error or 'the ledger is late'}") from None


def write_csv(events: Sequence[EventRow], first: bool, last: bool) -> str:
    """RFC 4180: lines end with CR LF, quotes where they are needed. Text that a spreadsheet would compute gets a '."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    quoting = csv.writer(text, lineterminator="\r\n", quoting=csv.QUOTE_ALL)
    if first:
        writer.writerow(COLUMNS)
    for event in events:
        cells = (
            iso_utc(event.ts_ns), event.level, event.kind, event.venue, event.symbol, event.source, event.message,
            canonical_details(event.details),
        )
        # where the list separator is a semicolon, a spreadsheet begins a cell at each one that is not quoted
        (quoting if any(";" in cell for cell in cells) else writer).writerow((event.id, *map(_plain, cells)))
    return text.getvalue()


def _plain(cell: str) -> str:
    return "'" + cell if cell.startswith(_FORMULA_STARTS) else cell


def write_json(events: Sequence[EventRow], first: bool, last: bool) -> str:
    """Pieces of one array: the items of GET /api/ui/events, one a line."""
    items = ",\n".join(json_text(rows.event(event)) for event in events)
    begin = "[\n" if first else ",\n" if events else ""
    return begin + items + ("\n]\n" if last else "")
