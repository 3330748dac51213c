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
    """What POST /api/ui/baseline takes; every field."""

    venue: VenueName
    asset: Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{2,20}$")]
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=REASON_MAX)]


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
    step: int | Absent = None
    since: str | Absent = None
    until: str | Absent = None


class EventArgs(PageArgs):
    since: Annotated[Moment, Field(description="Not before this time; without a zone it is UTC.")] | Absent = None
    until: Annotated[Moment, Field(description="Not after this time.")] | Absent = None
    level: Annotated[Text, Field(description="INFO, WARN or ERROR.")] | Absent = None
    kind: Annotated[Text, Field(description="Such as feed, hold, approval.")] | Absent = None
    venue: Annotated[Text, Field(description="Such as binance-um.")] | Absent = None
    symbol: Annotated[Text, Field(description="Such as BTCUSDT.")] | Absent = None


class StreamArgs(Input):
    """`types`: with commas, some of overview, event, incident, spread, fill; all without it."""

    types: str | Absent = None


class ExportArgs(EventArgs):
    """The list's filters, and more rows at once."""

    format: Literal["csv", "json"] | Absent = None
    limit: Annotated[int, Field(ge=1, le=100_000)] | Absent = None
