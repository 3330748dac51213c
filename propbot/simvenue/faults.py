"""Faults that an embedded venue can be asked to have, over the admin port or in process (`FaultBox.inject`).

| fault | FAULTS.md | acts on | what happens |
|---|---|---|---|
| lost_ack | 15, 17 | an order | accepted, then the connection is cut without a reply |
| delayed_ack | 15, 16 | an order | accepted; the reply comes `seconds` (5) later |
| drop_request | 15 | an order | never reaches the engine; the connection is cut |
| unknown_503 | 2 of subtleties, 15 | an order | 503 "Unknown error"; `executed` (true): accepted all the same |
| reject_order | 21 | an order | refused, as for lack of funds, or with `code` and `msg` |
| partial_fill | 21, 23 | an order | fills at most `qty`, or `fraction` (0.5) of what it asks |
| hide_order | 18, 39 | an order | accepted, but for `seconds` (5) not to be found by queries |
| silent_feed | 3, 5 | lasting | market frames stop; sockets stay open, pings are answered |
| depth_gap | 1 | a depth frame | it is left out |
| private_cut | 32, 37 | at once | private streams are closed; for `down_s` (0) new ones are refused |
| duplicate_fill | 34 | a fill's event | it is delivered twice |
| silent_private | 12 of subtleties, 32 | lasting | private events are not delivered |
| rate_limit_429 | 51 | a request | 429 with Retry-After `retry_after` (1), for that long |
| clock_offset | 48 | lasting | the venue's clock is `ms` off |
| refuse_connections | 46 | lasting | new connections are closed at once; `cut`: the open ones too |
| withdraw_key | section 4 | lasting | the key may withdraw |
| foreign_trade | 38 | at once | a market order of somebody else on the account: `side`, `qty`, `symbol` |
| mangled_depth | 1 | lasting | of depth frames `share` (0.01) is lost, as much comes twice, as much too late |
| delayed_snapshot | 2 | a depth snapshot | it is answered `seconds` (2) after it was taken |
| frozen_time | 4 | lasting | market frames go on, with the time at which this began |
| bad_neighbour | 8 | a depth frame | after it comes a broken one of another symbol |
| crossed_depth | 6 | a depth frame | a bid above the best ask is added to it |
| crossed_ticker | 6 | a ticker | its bid and ask are exchanged |
| late_frames | 9 | lasting | market frames go out `late_s` (2) late, with the time at which they were made |
| absurd_price | 10 | lasting | tickers' prices are multiplied by `factor` (10); 0 is one |
| symbol_status | 11 | at once | the symbol is `status` (BREAK); TRADING heals it |
| change_filters | 12, 28 | at once | `tick_size`, `lot_step`, `qty_min`, `notional_min` are others from now on |
| stream_cut | 14, 54 | at once | sessions that hear market frames are closed with `code` (1001) |
| odd_reply | 16, 25 | an order | answered `status` (502), `code`, `msg`; accepted all the same if `executed` (true) |
| odd_answer | 25 | any other call | answered `status` (502), `code`, `msg` |
| late_match | 22, 19 | a limit order | accepted, and rests; it meets the market `seconds` (10) later |
| reject_cancel | 19 | a cancel | refused with -2011; the order fills meanwhile if `fill` (true) |
| position_mode | 24 | at once | USD-M: the account is in hedge mode if `dual` (true): our orders are refused |
| foreign_order | 27 | at once | somebody else's order rests: `side`, `qty`, `away_bps` (300) off the mid |
| rewrite | 29 | lasting | `find` becomes `to` in what goes out to `where`: rest (`path`), private, public |
| blackhole | 3 | lasting | no byte comes or goes, nothing is closed; connections that it met stay dead |
| key_expired | 31 | at once | the private subscription ends; `told` (true): the venue says so, else it falls silent |
| slow_login | 33 | a private login | granted only `seconds` (5) later |
| replay_fills | 34 | a private login | the last `fills` (50) fills are told again to who has just logged in |
| adjust_account | 38 | at once | without a trade `amount` of `asset` comes or goes; a perp's base: the position |
| liquidation | 40 | at once | the venue closes the position of `symbol`; `adl` (false): it was auto-deleveraging |
| fee_asset | 41 | lasting | fees are taken in `asset` (BNB) at `price` (600) quote each |
| history_window | 42 | lasting | trades and income older than `window_s` (60) are not listed any more |
| zero_positions | 43 | lasting | positions of zero are listed, long and short ones too |
| drip_body | 47 | lasting | REST replies come byte by byte, one every `every_s` (2) |
| ban_418 | 51 | a request | 418 with Retry-After `retry_after` (120), for that long |
| inflated_weight | 52 | lasting | by the headers `share` (0.97) of the request weight is used: others share our IP |
| kick_1008 | 54 | at once | every WebSocket is closed with code 1008, too many messages |

A fault lets `after` of its occasions pass, then acts `count` times (null: until cleared). A lasting one holds, once
its `after` occasions have passed, until it is cleared or `seconds` are over; `count` has no meaning for it. One that
acts at once has neither.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from enum import Enum
from typing import Any

import trio
from attrs import define, field, frozen

from propbot.domain.instruments import VenueId
from propbot.domain.money import parse_amount
from propbot.domain.orders import Side
from propbot.simvenue.trace import VenueTrace

Params = Mapping[str, Any]
Check = Callable[[Any], Any]
"""The value as the fault uses it; ValueError saying what is accepted."""


FILLS_KEPT = 50
"""How many fills a venue can tell again."""


class FaultError(ValueError):
    """A fault that can't be had; `field` is what is wrong about the request."""

    def __init__(self, field_name: str, message: str) -> None:
        super().__init__(f"{field_name}: {message}")
        self.field = field_name


class Acts(Enum):
    COUNTED = "counted"
    LASTING = "lasting"
    AT_ONCE = "at once"


def _number(low: float, high: float) -> Check:
    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ValueError(f"a number from {low:g} to {high:g}, not {value!r}")
        return float(value)

    return check


def _amount(value: Any) -> Decimal:
    """Money comes as text; a JSON number is taken by its shortest spelling."""
    text = value if isinstance(value, str) else repr(value)
    if isinstance(value, bool) or (amount := parse_amount(text)) <= 0:
        raise ValueError(f"an amount above zero, not {value!r}")
    return amount


def _signed_amount(value: Any) -> Decimal:
    text = value if isinstance(value, str) else repr(value)
    return _amount(text[1:]).copy_negate() if text.startswith("-") else _amount(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"true or false, not {value!r}")
    return value


def _code(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not -99_999 <= value < 0:
        raise ValueError(f"a Binance error code, negative, not {value!r}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 300:
        raise ValueError(f"a text of 1 to 300 characters, not {value!r}")
    return value


def _side(value: Any) -> Side:
    if value not in tuple(Side):
        raise ValueError(f"BUY or SELL, not {value!r}")
    return Side(value)


@frozen
class _Kind:
    """What is known of one fault: how it acts, its parameters with their defaults (… : must be given, None: absent)."""

    acts: Acts
    params: Mapping[str, tuple[Check, Any]] = field(factory=dict)


def _one_of(*known: str) -> Check:
    def check(value: Any) -> str:
        if value not in known:
            raise ValueError(f"one of {', '.join(known)}, not {value!r}")
        return str(value)

    return check


def _http_status(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 400 <= value <= 599:
        raise ValueError(f"an HTTP status from 400 to 599, not {value!r}")
    return value


_SECONDS = _number(0, 86_400)
_ODD: Mapping[str, tuple[Check, Any]] = {
    "status": (_http_status, 502), "code": (_code, None), "msg": (_text, "<html><h1>502 Bad Gateway</h1></html>"),
}
_LASTS: tuple[Check, Any] = (_SECONDS, math.inf)
FAULTS: Mapping[str, _Kind] = {
    "lost_ack": _Kind(Acts.COUNTED),
    "delayed_ack": _Kind(Acts.COUNTED, {"seconds": (_SECONDS, 5.0)}),
    "drop_request": _Kind(Acts.COUNTED),
    "unknown_503": _Kind(Acts.COUNTED, {"executed": (_flag, True)}),
    "reject_order": _Kind(Acts.COUNTED, {"code": (_code, None), "msg": (_text, None)}),
    "partial_fill": _Kind(Acts.COUNTED, {"fraction": (_number(0, 1), 0.5), "qty": (_amount, None)}),
    "hide_order": _Kind(Acts.COUNTED, {"seconds": (_SECONDS, 5.0)}),
    "depth_gap": _Kind(Acts.COUNTED),
    "duplicate_fill": _Kind(Acts.COUNTED),
    "rate_limit_429": _Kind(Acts.COUNTED, {"retry_after": (_number(0.1, 3600), 1.0)}),
    "silent_feed": _Kind(Acts.LASTING, {"seconds": _LASTS}),
    "silent_private": _Kind(Acts.LASTING, {"seconds": _LASTS}),
    "clock_offset": _Kind(Acts.LASTING, {"ms": (_number(-86_400_000, 86_400_000), ...), "seconds": _LASTS}),
    "refuse_connections": _Kind(Acts.LASTING, {"seconds": _LASTS, "cut": (_flag, False)}),
    "withdraw_key": _Kind(Acts.LASTING, {"seconds": _LASTS}),
    "private_cut": _Kind(Acts.AT_ONCE, {"down_s": (_SECONDS, 0.0)}),
    "foreign_trade": _Kind(Acts.AT_ONCE, {"side": (_side, ...), "qty": (_amount, ...), "symbol": (_text, None)}),
    "mangled_depth": _Kind(Acts.LASTING, {"share": (_number(0, 0.33), 0.01), "seconds": _LASTS}),
    "delayed_snapshot": _Kind(Acts.COUNTED, {"seconds": (_SECONDS, 2.0)}),
    "frozen_time": _Kind(Acts.LASTING, {"seconds": _LASTS}),
    "bad_neighbour": _Kind(Acts.COUNTED),
    "crossed_depth": _Kind(Acts.COUNTED),
    "crossed_ticker": _Kind(Acts.COUNTED),
    "late_frames": _Kind(Acts.LASTING, {"late_s": (_SECONDS, 2.0), "seconds": _LASTS}),
    "absurd_price": _Kind(Acts.LASTING, {"factor": (_number(0, 1000), 10.0), "seconds": _LASTS}),
    "symbol_status": _Kind(Acts.AT_ONCE, {"status": (_text, "BREAK"), "symbol": (_text, None)}),
    "change_filters": _Kind(
        Acts.AT_ONCE,
        {
            "tick_size": (_amount, None), "lot_step": (_amount, None), "qty_min": (_amount, None),
            "notional_min": (_amount, None), "symbol": (_text, None),
        },
    ),
    "stream_cut": _Kind(Acts.AT_ONCE, {"code": (_number(1000, 4999), 1001.0)}),
    "odd_reply": _Kind(Acts.COUNTED, {**_ODD, "executed": (_flag, True)}),
    "odd_answer": _Kind(Acts.COUNTED, _ODD),
    "late_match": _Kind(Acts.COUNTED, {"seconds": (_SECONDS, 10.0)}),
    "reject_cancel": _Kind(Acts.COUNTED, {"fill": (_flag, True)}),
    "position_mode": _Kind(Acts.AT_ONCE, {"dual": (_flag, True)}),
    "foreign_order": _Kind(
        Acts.AT_ONCE,
        {"side": (_side, ...), "qty": (_amount, ...), "away_bps": (_number(1, 5000), 300.0), "symbol": (_text, None)},
    ),
    "rewrite": _Kind(
        Acts.LASTING,
        {
            "where": (_one_of("rest", "private", "public"), ...), "find": (_text, ...), "to": (_text, ...),
            "path": (_text, None), "seconds": _LASTS,
        },
    ),
    "blackhole": _Kind(Acts.LASTING, {"seconds": _LASTS}),
    "key_expired": _Kind(Acts.AT_ONCE, {"told": (_flag, True)}),
    "slow_login": _Kind(Acts.COUNTED, {"seconds": (_SECONDS, 5.0)}),
    "replay_fills": _Kind(Acts.COUNTED, {"fills": (_number(1, FILLS_KEPT), float(FILLS_KEPT))}),
    "adjust_account": _Kind(Acts.AT_ONCE, {"asset": (_text, ...), "amount": (_signed_amount, ...)}),
    "liquidation": _Kind(Acts.AT_ONCE, {"symbol": (_text, None), "adl": (_flag, False)}),
    "fee_asset": _Kind(
        Acts.LASTING, {"asset": (_text, "BNB"), "price": (_amount, Decimal(600)), "seconds": _LASTS}
    ),
    "history_window": _Kind(Acts.LASTING, {"window_s": (_SECONDS, 60.0), "seconds": _LASTS}),
    "zero_positions": _Kind(Acts.LASTING, {"seconds": _LASTS}),
    "drip_body": _Kind(Acts.LASTING, {"every_s": (_number(0.001, 3600), 2.0), "seconds": _LASTS}),
    "ban_418": _Kind(Acts.COUNTED, {"retry_after": (_number(1, 86_400), 120.0)}),
    "inflated_weight": _Kind(Acts.LASTING, {"share": (_number(0, 1), 0.97), "seconds": _LASTS}),
    "kick_1008": _Kind(Acts.AT_ONCE),
}


@define(eq=False)
class Fault:
    """One injected fault. `hits` counts how often it has acted."""

    id: str
    venue: VenueId
    name: str
    after: int
    count: int | None
    params: Params
    hits: int = 0
    started_s: float | None = None
    """When a lasting one began; Trio's clock."""

    @property
    def lasting(self) -> bool:
        return FAULTS[self.name].acts is Acts.LASTING

    @property
    def spent(self) -> bool:
        if self.lasting:
            return self.started_s is not None and trio.current_time() >= self.started_s + self.params["seconds"]
        return self.count is not None and self.hits >= self.count

    def row(self) -> dict[str, Any]:
        params = {name: value for name, value in self.params.items() if value is not None and value != math.inf}
        return {
            "id": self.id, "venue": self.venue, "fault": self.name, "after": self.after, "count": self.count,
            "params": {name: str(value) if isinstance(value, Decimal) else value for name, value in params.items()},
            "hits": self.hits,
            "spent": self.spent,
        }


class FaultBox:
    """The faults of one host's venues. Faces ask `strike` and `lasting`; admin and tests `inject` and `clear`."""

    def __init__(self, venues: Iterable[VenueId], trace: VenueTrace) -> None:
        self._venues = tuple(venues)
        self._trace = trace
        self._faults: dict[str, Fault] = {}
        self._armed: dict[tuple[VenueId, str], list[Fault]] = {}
        self._at_once: dict[tuple[VenueId, str], Callable[[Params], None]] = {}
        self._number = 0

    def on(self, venue: VenueId, name: str, act: Callable[[Params], None]) -> None:
        """What is done, synchronously, when fault `name` is injected."""
        self._at_once[venue, name] = act

    def inject(
        self,
        venue: str,
        fault: str,
        *,
        after: Any = 0,
        count: Any = 1,
        params: Any = None,
    ) -> str:
        """The new fault's id. FaultError names the field that is wrong; then nothing was done."""
        made = self._check(venue, fault, after, count, params)
        act = self._at_once.get((made.venue, fault))
        if act is not None:
            act(made.params)
        if FAULTS[fault].acts is Acts.AT_ONCE:
            made.hits, made.count = 1, 1
        else:
            self._armed.setdefault((made.venue, fault), []).append(made)
            if made.lasting and not made.after:
                self._begin(made)
        self._faults[made.id] = made
        shown = made.row()["params"]
        self._trace.row(made.venue, "in", "fault", id=made.id, fault=fault, what="injected", params=shown)
        return made.id

    def clear(self, fault_id: str | None = None) -> int:
        """Forget one fault, or all; how many there were."""
        gone = [fault for fault in self._faults.values() if fault_id in (None, fault.id)]
        for fault in gone:
            del self._faults[fault.id]
            armed = self._armed.get((fault.venue, fault.name), [])
            if fault in armed:
                armed.remove(fault)
            self._trace.row(fault.venue, "in", "fault", id=fault.id, fault=fault.name, what="cleared")
        return len(gone)

    def rows(self) -> list[dict[str, Any]]:
        return [fault.row() for fault in self._faults.values()]

    def armed(self, venue: VenueId) -> bool:
        """Whether any fault of `venue` may act: one look, where each frame would have to ask for each of them."""
        return any(faults and at == venue for (at, _), faults in self._armed.items())

    def strike(self, venue: VenueId, name: str, client_order_id: str | None = None) -> Params | None:
        """One occasion for a counted fault has come: its parameters if it acts on this one."""
        armed = self._armed.get((venue, name))
        if not armed:
            return None
        fault = armed[0]
        if fault.after > 0:
            fault.after -= 1
            return None
        fault.hits += 1
        if fault.spent:
            armed.remove(fault)
        self._trace.row(venue, "out", "fault", client_order_id=client_order_id, id=fault.id, fault=name, what="acts")
        return fault.params

    def lasting(self, venue: VenueId, name: str, *, occasion: bool = True) -> Params | None:
        """The parameters of a lasting fault that holds now. `occasion` False only looks: nothing of `after` passes."""
        armed = self._armed.get((venue, name))
        if not armed:
            return None
        fault = armed[0]
        if fault.started_s is None:
            if not occasion:
                return None
            if fault.after > 0:
                fault.after -= 1
                return None
            self._begin(fault)
        if fault.spent:
            armed.remove(fault)
            return None
        return fault.params

    def _begin(self, fault: Fault) -> None:
        fault.started_s = trio.current_time()
        fault.hits = 1
        shown = fault.row()["params"]
        self._trace.row(fault.venue, "in", "fault", id=fault.id, fault=fault.name, what="begins", params=shown)

    def _check(self, venue: str, fault: str, after: Any, count: Any, params: Any) -> Fault:
        if venue not in self._venues:
            raise FaultError("venue", f"{venue!r} is not served here; there are {', '.join(self._venues)}")
        if not isinstance(fault, str) or fault not in FAULTS:
            raise FaultError("fault", f"{fault!r} is unknown; there are {', '.join(FAULTS)}")
        if isinstance(after, bool) or not isinstance(after, int) or after < 0:
            raise FaultError("after", f"how many occasions pass first: 0 or more, not {after!r}")
        if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 1):
            raise FaultError("count", f"how many times: 1 or more, or null, not {count!r}")
        checked = _check_params(FAULTS[fault], {} if params is None else params)
        self._number += 1
        return Fault(f"f{self._number}", VenueId(venue), fault, after, count, checked)


def _check_params(kind: _Kind, given: Any) -> Params:
    if not isinstance(given, Mapping):
        raise FaultError("params", f"an object, not {given!r}")
    for name in given:
        if name not in kind.params:
            raise FaultError(f"params.{name}", f"unknown; there are {', '.join(kind.params) or 'none'}")
    checked: dict[str, Any] = {}
    for name, (check, default) in kind.params.items():
        if given.get(name) is None:
            if default is ...:
                raise FaultError(f"params.{name}", "must be given")
            checked[name] = default
            continue
        try:
            checked[name] = check(given[name])
        except ValueError as error:
            raise FaultError(f"params.{name}", str(error)) from None
    return checked
