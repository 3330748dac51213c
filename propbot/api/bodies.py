"""What operators send, as pydantic models: strict, every bound stated once, nothing unknown taken.

The PATCH body is validated by its model; the query models only document (`query` reads them, to name a bad one).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    create_model,
)
from pydantic.json_schema import SkipJsonSchema

from propbot.secrets.names import CHARACTERS_MAX, CHARACTERS_MIN, STORABLE

REASON_MAX = 200
VENUES_MAX = 8
TEXT_MAX = 100
"""Of a filter."""
EXPORT_ROWS_MAX = 100_000
STEP_S_MAX = 60
"""The coarsest of a series."""
STREAM_TYPES = ("overview", "event", "incident", "spread", "fill")
_STREAM_TYPE = f"({'|'.join(STREAM_TYPES)})"


class Input(BaseModel):
    """From operators: strict, and nothing unknown."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


def _exact(given: object) -> Decimal:
    """A JSON number, as written; not a string, not a boolean."""
    if isinstance(given, bool) or not isinstance(given, int | Decimal):
        raise ValueError("Input should be a number")
    return Decimal(given)


def _bounded(low: float, high: float) -> Any:
    return WithJsonSchema({"type": "number", "minimum": low, "maximum": high})


def _each_once(venues: list[str]) -> list[str]:
    if len(set(venues)) < len(venues):
        raise ValueError("a venue is named twice")
    return venues


Notional = Annotated[Decimal, BeforeValidator(_exact), Field(ge=1, le=1_000_000), _bounded(1, 1_000_000)]
Spread = Annotated[Decimal, BeforeValidator(_exact), Field(ge=0, le=100), _bounded(0, 100)]
Slippage = Annotated[Decimal, BeforeValidator(_exact), Field(ge=0, le=50), _bounded(0, 50)]
PollInterval = Annotated[Decimal, BeforeValidator(_exact), Field(ge=Decimal("0.05"), le=60), _bounded(0.05, 60)]
DrainTimeout = Annotated[Decimal, BeforeValidator(_exact), Field(ge=1, le=3600), _bounded(1, 3600)]
Pair = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{5,20}$")]
VenueName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=40)]
Venues = Annotated[list[VenueName], Field(min_length=1, max_length=VENUES_MAX), AfterValidator(_each_once)]
ModeName = Literal["RUN", "DRAIN", "HOLD"]
Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Text = Annotated[str, StringConstraints(min_length=1, max_length=TEXT_MAX)]
Limit = Annotated[int, Field(ge=1, le=1000, description="How many items a page has at most; 100 if absent.")]
Cursor = Annotated[
    str, StringConstraints(pattern=r"^[0-9]{1,18}$"), Field(description="`next_cursor` of the page before.")
]
Since = Annotated[Moment, Field(description="Not before this time; without a zone it is UTC.")]
Until = Annotated[Moment, Field(description="Not after this time.")]
Absent = SkipJsonSchema[None]
"""A field that was not given; null itself is refused before a model sees it."""


class ControlBody(Input):
    """What PATCH /api/ui/control takes: any subset."""

    mode: ModeName | Absent = None
    reason: Annotated[str, StringConstraints(max_length=REASON_MAX)] | Absent = None
    safe_mode: bool | Absent = None
    dry_run_only: bool | Absent = None
    order_notional_usdt: Notional | Absent = None
    min_spread_bps: Spread | Absent = None
    max_slippage_bps: Slippage | Absent = None
    poll_interval_sec: PollInterval | Absent = None
    loop_pair: Pair | Absent = None
    loop_venues: Venues | Absent = None
    drain_timeout_sec: DrainTimeout | Absent = None


class AcknowledgeBody(Input):
    """What POST /api/ui/incidents/<id>/ack takes."""

    note: Annotated[str, StringConstraints(max_length=REASON_MAX)] | Absent = None


class ApproveBody(Input):
    """What an approval takes: nothing; the proposal says what is approved."""


class RejectBody(Input):
    reason: Annotated[str, StringConstraints(max_length=REASON_MAX)] | Absent = None


class BaselineBody(Input):
    """What POST /api/ui/baseline takes; `lots` is asked for after a restore only."""

    venue: VenueName
    asset: Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{2,20}$")]
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=REASON_MAX)]
    lots: Annotated[
        Literal["keep", "write_off"],
        Field(description="Lots with a leg there, after a restore: still at the venue, or closed since the backup."),
    ] | Absent = None


SecretValue = Annotated[
    str, StringConstraints(min_length=CHARACTERS_MIN, max_length=CHARACTERS_MAX, pattern=r"^[!-~]+$")
]
_secret_fields: Any = dict.fromkeys(sorted(STORABLE), (SecretValue | Absent, None))
SecretBody = create_model("SecretBody", __base__=Input, **_secret_fields)
"""What POST /api/ui/secret takes: any subset. It only documents: pydantic would say a value that it refuses."""


class PageArgs(Input):
    """Of every list."""

    limit: Limit | Absent = None
    cursor: Cursor | Absent = None


class SeriesArgs(PageArgs):
    step: Annotated[
        int, Field(ge=1, le=STEP_S_MAX, description="Seconds between points: one of `steps_s`; the first if absent."),
    ] | Absent = None
    since: Since | Absent = None
    until: Until | Absent = None


class EventArgs(PageArgs):
    since: Since | Absent = None
    until: Until | Absent = None
    level: Annotated[Text, Field(description="INFO, WARN or ERROR.")] | Absent = None
    kind: Annotated[Text, Field(description="Such as feed, hold, approval.")] | Absent = None
    venue: Annotated[Text, Field(description="Such as binance-um.")] | Absent = None
    symbol: Annotated[Text, Field(description="Such as BTCUSDT.")] | Absent = None


class StreamArgs(Input):
    types: Annotated[
        str, StringConstraints(pattern=f"^{_STREAM_TYPE}(,{_STREAM_TYPE})*$"),
        Field(description="Which messages, with commas between them; all if absent."),
    ] | Absent = None


class StreamHeaders(Input):
    """A browser sends it by itself when it comes back."""

    last_event_id: Annotated[
        str, StringConstraints(pattern=r"^[0-9]{1,18}-[0-9]{1,18}-([0-9a-f]{16})?$"),
        Field(description="The newest `id:` that was received; the stream goes on after it."),
    ] | Absent = None


class ExportArgs(EventArgs):
    """The list's filters, and more rows at once."""

    format: Annotated[Literal["csv", "json"], Field(description="What kind of file; csv if absent.")] | Absent = None
    limit: Annotated[
        int, Field(ge=1, le=EXPORT_ROWS_MAX, description="How many rows the file has at most; 100000 if absent."),
    ] | Absent = None
    cursor: Annotated[Cursor, Field(description="Only what is older than this id: the last one of the file before.")] \
        | Absent = None
