"""What one seed does to the service: a list of blows, each with its moment and its parameters, drawn before it begins.

A plan is a pure function of seed and length (and of this version's faults and crash points), so that a run can be told
again from its seed. Nothing here knows how a blow is dealt; `nemesis` does.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen

from propbot.kit.crash import CRASH_POINTS
from propbot.simvenue.faults import FAULTS, Acts

VENUES = ("binance-um", "binance-spot")
FIRST_BLOW_S = 12.0
MEAN_GAP_S = 22.0
LATE_SHARE = 0.92
"""What only an operator's hand mends, such as a foreign trade, comes when this share of the time is over."""
FOR_GOOD = frozenset({"foreign_trade", "foreign_order", "adjust_account", "liquidation"})
NOT_DRAWN = frozenset({"fee_asset"})
"""The accounts hold no third asset to take fees in: the venue would let it go below zero, as no real one does."""
UNDONE_LATER: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "symbol_status": {"*": {"status": "TRADING"}},
    "position_mode": {"*": {"dual": False}},
    "change_filters": {"binance-um": {"tick_size": "0.10"}, "binance-spot": {"tick_size": "0.01"}},
}
"""Fault → venue (`*`: any) → the same fault that takes it back after some seconds."""

Draw = Callable[[random.Random], dict[str, Any]]


@frozen
class Blow:
    """`t` is virtual seconds after the first start. `what` is `fault`, or a kind that `nemesis.ACTS` knows."""

    t: float
    what: str
    venue: str = ""
    name: str = ""
    request: Mapping[str, Any] = field(factory=dict)

    @property
    def kind(self) -> str:
        """As it is counted and shown."""
        return f"{self.what}:{self.name}" if self.name else self.what


@frozen
class Plan:
    seed: int
    length_s: float
    updates_per_s: float
    """Depth updates a venue; there are two tickers to each."""
    settings: Mapping[str, str]
    blows: tuple[Blow, ...]


def _span(low: float, high: float) -> Callable[[random.Random], float]:
    return lambda rng: round(rng.uniform(low, high), 3)


def _skew_ms(rng: random.Random) -> float:
    return float(round(rng.choice((-1, 1)) * rng.choice((rng.uniform(50, 900), rng.uniform(1_100, 8_000)))))


ONE_VENUE = {"position_mode": "binance-um", "liquidation": "binance-um"}
"""Faults that only one of them can have."""
PARAMS: Mapping[str, Mapping[str, Callable[[random.Random], Any]]] = {
    "delayed_ack": {"seconds": _span(0.05, 9)},
    "unknown_503": {"executed": lambda rng: rng.random() < 0.5},
    "partial_fill": {"fraction": _span(0.01, 0.99)},
    "hide_order": {"seconds": _span(0.5, 30)},
    "silent_feed": {"seconds": _span(1, 90)},
    "silent_private": {"seconds": _span(1, 30)},
    "rate_limit_429": {"retry_after": _span(1, 30)},
    "clock_offset": {"ms": _skew_ms, "seconds": _span(3, 60)},
    "refuse_connections": {"seconds": _span(1, 60), "cut": lambda rng: rng.random() < 0.7},
    "private_cut": {"down_s": _span(0, 20)},
    "mangled_depth": {"share": _span(0.01, 0.2), "seconds": _span(3, 60)},
    "delayed_snapshot": {"seconds": _span(0.5, 8)},
    "late_frames": {"late_s": _span(0.2, 6), "seconds": _span(3, 40)},
    "absurd_price": {"factor": lambda rng: rng.choice((0.0, 0.1, 10.0)), "seconds": _span(1, 20)},
    "stream_cut": {"code": lambda rng: float(rng.choice((1001, 1008, 1011)))},
    "odd_reply": {"status": lambda rng: rng.choice((500, 502, 504)), "executed": lambda rng: rng.random() < 0.5},
    "odd_answer": {"status": lambda rng: rng.choice((500, 502, 504))},
    "late_match": {"seconds": _span(0.5, 15)},
    "rewrite": {
        "where": lambda rng: "private", "find": lambda rng: '"X":"FILLED"', "to": lambda rng: '"X":"DONE"',
        "seconds": _span(1, 20),
    },
    "key_expired": {"told": lambda rng: rng.random() < 0.5},
    "kick_1008": {},
    "slow_login": {"seconds": _span(0.5, 12)},
    "symbol_status": {"status": lambda rng: "BREAK"},
    "change_filters": {"tick_size": lambda rng: "1.00"},
    "position_mode": {"dual": lambda rng: True},
    "history_window": {"window_s": _span(5, 120), "seconds": _span(5, 40)},
    "drip_body": {"every_s": _span(0.01, 3), "seconds": _span(2, 40)},
    "ban_418": {"retry_after": lambda rng: float(rng.randint(5, 60))},
    "inflated_weight": {"share": _span(0.5, 1.0), "seconds": _span(2, 60)},
    "foreign_order": {"side": lambda rng: rng.choice(("BUY", "SELL")), "qty": lambda rng: "0.01",
                      "away_bps": lambda rng: 2000.0},
    "adjust_account": {"asset": lambda rng: "USDT", "amount": lambda rng: rng.choice(("7.5", "-7.5"))},
    "liquidation": {"adl": lambda rng: rng.random() < 0.5},
    "foreign_trade": {
        "side": lambda rng: rng.choice(("BUY", "SELL")), "qty": lambda rng: rng.choice(("0.002", "0.05")),
    },
}
"""Fault → its parameters; one that is not named here is injected with its defaults, for some seconds if it lasts."""

WEIGHTS: Mapping[str, float] = {
    "fault": 66, "kill": 5, "crash_point": 8, "restart": 3, "disk": 4, "state_disk": 2, "clock_step": 3,
    "operator_hold": 3, "operator_drain": 2, "operator_safe_mode": 2, "operator_dry_run": 1, "intruder": 4,
    "blackout": 1,
}

_STEP = _span(-5_000, 5_000)
OTHERS: Mapping[str, Draw] = {
    "kill": lambda rng: {},
    "crash_point": lambda rng: {"at": f"{rng.choice(tuple(CRASH_POINTS))}:{rng.randint(1, 6)}"},
    "restart": lambda rng: {},
    "disk": lambda rng: {
        "seconds": round(rng.uniform(0.1, 20), 3), "share": rng.choice((1.0, 1.0, 0.3)),
        "error": rng.choice(("disk I/O error", "database or disk is full", "database is locked")),
    },
    "state_disk": lambda rng: {"seconds": round(rng.uniform(0.5, 20), 3)},
    "clock_step": lambda rng: {
        "ms": rng.choice((_STEP(rng), 3_600_000.0, -3_600_000.0)), "seconds": round(rng.uniform(2, 40), 3),
    },
    "operator_hold": lambda rng: {"with_safe_mode": rng.random() < 0.3},
    "operator_drain": lambda rng: {},
    "operator_safe_mode": lambda rng: {"seconds": round(rng.uniform(1, 15), 3)},
    "operator_dry_run": lambda rng: {"seconds": round(rng.uniform(1, 15), 3)},
    "intruder": lambda rng: {"probes": rng.sample(range(9), 3)},
    "blackout": lambda rng: {"seconds": round(rng.uniform(2, 20), 3)},
}


def draw_plan(seed: int, hours: float) -> Plan:
    """Hours of virtual time, fractions too."""
    rng = random.Random(f"propbot simulate {seed}")
    length_s = hours * 3600.0
    settings = {
        "MIN_SPREAD_BPS": rng.choice(("6", "12")), "MAX_POSITION_USDT": rng.choice(("1200", "2500")),
        "HOLD_EXIT": rng.choice(("unwind", "unwind", "unwind", "freeze")),
        "ORDER_NOTIONAL_USDT": rng.choice(("1000", "400")),
    }
    updates_per_s = round(rng.uniform(0.8, 1.6), 2)
    blows = _draw_blows(rng, length_s)
    if rng.random() < 0.25:
        blows += [_draw_for_good(rng, length_s)]
    return Plan(seed, length_s, updates_per_s, settings, tuple(sorted(blows, key=lambda blow: blow.t)))


def _draw_blows(rng: random.Random, length_s: float) -> list[Blow]:
    blows: list[Blow] = []
    t = FIRST_BLOW_S
    while t < length_s:
        blows.append(_draw_blow(rng, round(t, 4)))
        # now and then several at once: what none of them does alone, two may do together
        t += rng.uniform(0, 0.5) if rng.random() < 0.2 else rng.expovariate(1 / MEAN_GAP_S)
    return blows


def _draw_blow(rng: random.Random, t: float) -> Blow:
    (what,) = rng.choices(tuple(WEIGHTS), tuple(WEIGHTS.values()))
    if what != "fault":
        return Blow(t, what, request=OTHERS[what](rng))
    name = rng.choice([name for name in FAULTS if may_be_drawn(name)])
    return _draw_fault(rng, t, name)


def may_be_drawn(name: str) -> bool:
    """Not what lasts for good, nor what needs a parameter that nobody has said how to draw."""
    kind = FAULTS[name]
    unknown_needs = any(default is ... for _, default in kind.params.values()) and name not in PARAMS
    unknown_at_once = kind.acts is Acts.AT_ONCE and name not in PARAMS
    return name not in FOR_GOOD and name not in NOT_DRAWN and not unknown_needs and not unknown_at_once


def _draw_fault(rng: random.Random, t: float, name: str) -> Blow:
    kind = FAULTS[name]
    params = {param: draw(rng) for param, draw in PARAMS.get(name, {}).items()}
    if kind.acts is Acts.LASTING and "seconds" in kind.params and "seconds" not in params:
        params["seconds"] = round(rng.uniform(1, 40), 3)
    request: dict[str, Any] = {"params": params}
    if name in UNDONE_LATER:
        request["undo_s"] = round(rng.uniform(2, 40), 3)
    if kind.acts is not Acts.AT_ONCE:
        request["after"] = rng.choice((0, 0, 1, 3))
    if kind.acts is Acts.COUNTED:
        request["count"] = rng.choice((1, 1, 2, 4))
    return Blow(t, "fault", ONE_VENUE.get(name) or rng.choice(VENUES), name, request)


def _draw_for_good(rng: random.Random, length_s: float) -> Blow:
    return _draw_fault(rng, round(length_s * rng.uniform(LATE_SHARE, 1.0), 4), rng.choice(sorted(FOR_GOOD)))
