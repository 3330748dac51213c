"""The journal's rows as the service hands them out: a filter, a bare JSON array as it streams in, page after page.

Rows are never lost or doubled between two requests: an event's id counts from 1 without gaps, and a cursor is the id
below which a page begins. Times are no cursor, since a wall clock may step.
"""

from __future__ import annotations

import json
import re
from codecs import getincrementaldecoder
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from propbotctl import shapes
from propbotctl.answers import misfit
from propbotctl.failures import Failure, Foreign
from propbotctl.options import Target

Event = dict[str, Any]

EXPORT_ROWS_MAX = 100_000
"""What one export hands out at most; the list, a thousand a page, has the rest."""
PAGE_ROWS = 1000
STREAM_S_MAX = 60.0
"""The longest silence: a search of a long journal may take its time to the first row."""
_BETWEEN = re.compile(r"[\s,]*")


def read_array(chunks: Iterable[bytes]) -> Iterator[Event]:
    """The objects of one JSON array, each as soon as it is whole; Failure for what is none, or ends before its end."""
    decoder = json.JSONDecoder()
    text = ""
    begun = False
    for piece in _texts(chunks):
        text += piece
        if not begun:
            text = text.lstrip()
            if text and text[0] != "[":
                raise Foreign("the export is not a list of events, so it is not PropBot's")
            begun, text = bool(text), text[1:]
        at = _skip(text, 0)
        while at < len(text) and text[at] != "]":
            try:
                row, end = decoder.raw_decode(text, at)
            except ValueError:  # not whole yet
                break
            except RecursionError:
                raise Foreign("a row is nested deeper than PropBot's are") from None
            yield as_event(row)
            at = _skip(text, end)
        text = text[at:]
    if text.strip() != "]":
        raise Failure("the export ended before its end", "try again; a smaller one: --since, --limit")


def as_event(found: Any) -> Event:
    """The same; Failure where it is no row of a journal."""
    wrong = misfit(found, shapes.Event)
    if wrong is not None:
        raise Foreign(f"a row is no event of PropBot's ({wrong})")
    row: Event = found
    return row


def _skip(text: str, at: int) -> int:
    """Past what stands between two rows."""
    between = _BETWEEN.match(text, at)
    return at if between is None else between.end()


def _texts(chunks: Iterable[bytes]) -> Iterator[str]:
    """UTF-8, of which a character may be cut in two by the end of a chunk."""
    decoder = getincrementaldecoder("utf-8")()
    try:
        for chunk in chunks:
            yield decoder.decode(chunk)
    except UnicodeDecodeError:
        raise Foreign("the export is not text, so it is not PropBot's") from None


def read_export(target: Target, wanted: Mapping[str, str], limit: int | None) -> Iterator[Event]:
    """Newest first, `limit` of them at most, None: all that there are."""
    most = EXPORT_ROWS_MAX if limit is None else min(limit, EXPORT_ROWS_MAX)
    params = {"format": "json", "limit": str(most), **wanted}
    count, oldest_id = 0, 0
    with target.open_stream("/api/ui/events/export", params=params, timeout_s=STREAM_S_MAX) as chunks:
        for event in read_array(chunks):
            yield event
            count, oldest_id = count + 1, event["id"]
    if count < EXPORT_ROWS_MAX or count == limit:
        return
    for event in read_pages(target, wanted, str(oldest_id)):
        if count == limit:
            return
        yield event
        count += 1


def read_pages(target: Target, wanted: Mapping[str, str], cursor: str | None) -> Iterator[Event]:
    """The list, newest first, from the cursor on, page after page to the oldest one."""
    while True:
        params = {"limit": str(PAGE_ROWS), **wanted} | ({} if cursor is None else {"cursor": cursor})
        page = target.call("GET", "/api/ui/events", params=params, timeout_s=STREAM_S_MAX)[1]
        yield from page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return
