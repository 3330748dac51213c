"""Query parameters of the lists: `limit`, `cursor` and, for events, the filters and the export's format. A bad one, or
one that there is not, is a 422 that names it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal, cast

from attrs import frozen
from pydantic import BaseModel

from propbot.api.bodies import EXPORT_ROWS_MAX, TEXT_MAX, EventArgs, ExportArgs, PageArgs, SeriesArgs
from propbot.api.replies import ApiError, said_of
from propbot.api.strict_json import printable
from propbot.status.desk import EventQuery

LIMIT_MAX = 1000
LIMIT_DEFAULT = 100
CURSOR_DIGITS_MAX = 18
NAME_SHOWN_MAX = 50
NS_MAX = 2**63 - 1
"""What the ledger's integers hold: from 1677-09-21 to 2262-04-11."""


@frozen
class PageQuery:
    limit: int
    cursor: str | None


@frozen
class ExportQuery:
    page: PageQuery
    format: Literal["csv", "json"]
    wanted: EventQuery


@frozen
class SeriesQuery:
    page: PageQuery
    step_s: int
    since_ns: int | None
    until_ns: int | None


def read_page(args: Mapping[str, str]) -> PageQuery:
    problems = unknown_names(args, PageArgs)
    page = _page(args, problems)
    _refuse(problems)
    return page


def read_events(args: Mapping[str, str]) -> tuple[PageQuery, EventQuery]:
    problems = unknown_names(args, EventArgs)
    page, wanted = _page(args, problems), _wanted(args, problems)
    _refuse(problems)
    return page, wanted


def read_export(args: Mapping[str, str]) -> ExportQuery:
    """Without a limit as many rows as one file may have."""
    problems = unknown_names(args, ExportArgs)
    page = _page(args, problems, limit_max=EXPORT_ROWS_MAX, default=EXPORT_ROWS_MAX)
    chosen = args.get("format", "csv")
    if chosen not in ("csv", "json"):
        problems["format"] = "csv or json"
    wanted = _wanted(args, problems)
    _refuse(problems)
    return ExportQuery(page, cast(Literal["csv", "json"], chosen), wanted)


def read_series(args: Mapping[str, str], steps_s: Sequence[int]) -> SeriesQuery:
    """Without a step the finest one, which is the first of `steps_s`."""
    problems = unknown_names(args, SeriesArgs)
    page = _page(args, problems)
    step = args.get("step", str(steps_s[0]))
    if step not in map(str, steps_s):
        problems["step"] = f"seconds between two points: {' or '.join(map(str, steps_s))}"
    since_ns, until_ns = _time(args, "since", problems), _time(args, "until", problems)
    _refuse(problems)
    return SeriesQuery(page, int(step), since_ns, until_ns)


def unknown_names(args: Mapping[str, str], model: type[BaseModel]) -> dict[str, str]:
    """What `model` does not have, with what it has: a filter with a slip in its name would show everything."""
    names = list(model.model_fields)
    unknown = [printable(each[:NAME_SHOWN_MAX]) for each in args if each not in names]
    return dict.fromkeys(unknown, f"unknown; there is {', '.join(names)}")


def _wanted(args: Mapping[str, str], problems: dict[str, str]) -> EventQuery:
    return EventQuery(
        since_ns=_time(args, "since", problems),
        until_ns=_time(args, "until", problems),
        level=_text(args, "level", problems),
        kind=_text(args, "kind", problems),
        venue=_text(args, "venue", problems),
        symbol=_text(args, "symbol", problems),
    )


def _refuse(problems: dict[str, str]) -> None:
    if problems:
        raise ApiError(422, said_of(problems), fields=problems)


def _page(
    args: Mapping[str, str], problems: dict[str, str], *, limit_max: int = LIMIT_MAX, default: int = LIMIT_DEFAULT
) -> PageQuery:
    limit = args.get("limit", str(default))
    if not _digits(limit, 6) or not 1 <= int(limit) <= limit_max:
        problems["limit"] = f"a whole number, 1 to {limit_max}"
        limit = "1"
    cursor = args.get("cursor")
    if cursor is not None and not _digits(cursor, CURSOR_DIGITS_MAX):
        problems["cursor"] = "not a cursor; take it from next_cursor of the page before"
    return PageQuery(int(limit), cursor)


def _digits(text: str, most: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= most


def _time(args: Mapping[str, str], name: str, problems: dict[str, str]) -> int | None:
    """Nanoseconds of an ISO 8601 time; without a zone it is UTC, like every time that leaves the service."""
    text = args.get(name)
    if text is None:
        return None
    try:
        # a bare + in a URL arrives as a space
        stamp = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
        since_epoch = stamp.replace(tzinfo=stamp.tzinfo or UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    except (ValueError, OverflowError):
        problems[name] = "an ISO 8601 time, such as 2026-11-23T03:12:09Z"
        return None
    ns = (since_epoch.days * 86_400 + since_epoch.seconds) * 1_000_000_000 + since_epoch.microseconds * 1000
    if not -NS_MAX <= ns <= NS_MAX:
        problems[name] = "a time from 1677-09-22 to 2262-04-11"
        return None
    return ns


def _text(args: Mapping[str, str], name: str, problems: dict[str, str]) -> str | None:
    text = args.get(name)
    if text is not None and not (0 < len(text) <= TEXT_MAX and text.isprintable()):
        problems[name] = f"1 to {TEXT_MAX} printable characters"
    return text
