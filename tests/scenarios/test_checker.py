"""The oracle against itself: a clean run passes, and a planted bug for each invariant is caught and named.

The clean run: start, open a pair (perp short, spot long), kill, restart, close, HOLD by the operator. Each planted bug
changes as little of it as it can, so that only its own invariant speaks.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from attrs import define, field

from propbot.simulate.checker import Evidence, LedgerEnd, Limits, VenueEnd, check, report

UM, SPOT = "binance-um", "binance-spot"
D = Decimal


@define
class Run:
    """A run that can be bent. Rows come in any order (`Evidence` sorts them by time); tables are lists of dicts."""

    rows: list[dict[str, Any]] = field(factory=list)
    intents: list[dict[str, Any]] = field(factory=list)
    orders: list[dict[str, Any]] = field(factory=list)
    fills: list[dict[str, Any]] = field(factory=list)
    funding: list[dict[str, Any]] = field(factory=list)
    venue_orders: dict[str, list[dict[str, Any]]] = field(factory=lambda: {UM: [], SPOT: []})
    trades: dict[str, list[dict[str, Any]]] = field(factory=lambda: {UM: [], SPOT: []})
    fundings: list[dict[str, Any]] = field(factory=list)
    um_usdt: Decimal = field(default=D(100_000))
    um_position: Decimal = field(default=D(0))
    spot: dict[str, Decimal] = field(factory=lambda: {"USDT": D(100_000), "BTC": D(2)})
    quiesced: bool = True
    profile: str = "paper"
    hold_exit: str = "unwind"
    tops: dict[tuple[str, int], tuple[float, str, str]] = field(factory=dict)
    canaries: dict[str, str] = field(factory=dict)
    written: dict[str, bytes] = field(factory=dict)
    events: list[dict[str, Any]] = field(factory=list)
    two_man: bool = False
    trace_hashes: tuple[str, ...] = ()
    exposure: Decimal = field(default=D(0))

    # --- what happens

    def bot(self, t: float, kind: str, **fields: Any) -> dict[str, Any]:
        row = {"t": t, "who": "bot", "kind": kind, **fields}
        self.rows.append(row)
        return row

    def venue(self, t: float, kind: str, venue: str, **fields: Any) -> dict[str, Any]:
        row = {"t": t, "who": "venue", "kind": kind, "venue": venue, **fields}
        self.rows.append(row)
        return row

    def harness(self, t: float, kind: str, **fields: Any) -> dict[str, Any]:
        row = {"t": t, "who": "harness", "kind": kind, **fields}
        self.rows.append(row)
        return row

    def set_mode(self, t: float, mode: str, source: str, reason: str = "", *, saved: bool = True) -> None:
        self.bot(t, "mode", mode=mode, source=source, reason=reason)
        if mode == "HOLD" and saved:
            self.bot(t + 0.01, "state_saved", mode="HOLD", generation=0)

    def mode_at(self, t: float) -> str:
        modes = [row for row in self.rows if row["kind"] == "mode" and row["t"] <= t]
        return str(max(modes, key=lambda row: float(row["t"]))["mode"])

    def start(self, t: float, mode: str = "RUN") -> None:
        self.bot(t, "start", mode=mode)
        self.set_mode(t, mode, "startup")
        for venue in (UM, SPOT):
            self.recon(t + 1, venue)

    def recon(self, t: float, venue: str, *, agrees: bool = True) -> None:
        self.bot(t, "recon", venue=venue, agrees=agrees, detail="" if agrees else "differs")

    def commit(self, t: float, intent_id: str, purpose: str, *legs: tuple[str, str, str, str]) -> None:
        """Legs: client order id, venue, side, quantity."""
        ids = [leg[0] for leg in legs]
        self.bot(t, "intent_committed", intent_id=intent_id, client_order_ids=ids, purpose=purpose)
        self.intents.append({"id": intent_id, "purpose": purpose, "simulated": 0})
        for client_order_id, venue, side, qty in legs:
            self.orders.append(
                {
                    "client_order_id": client_order_id, "intent_id": intent_id, "venue": venue, "symbol": "BTCUSDT",
                    "side": side, "qty": qty, "state": "INTENT", "simulated": 0,
                }
            )

    def send(
        self, t: float, client_order_id: str, purpose: str, venue: str, side: str, qty: str, price: str, **changes: Any
    ) -> None:
        signed = D(qty) if side == "BUY" else -D(qty)
        row = self.bot(
            t, "order_send", client_order_id=client_order_id, venue=venue, symbol="BTCUSDT", side=side,
            purpose=purpose, qty=qty, price=price, reduce_only=False, mode=self.mode_at(t),
            exposure_before=str(self.exposure), exposure_after=str(self.exposure + signed), books={},
        )
        row.update(changes)
        self.venue(
            t + 0.005, "order", venue, client_order_id=client_order_id, side=side, qty=qty, price=price,
            type="LIMIT", reduce_only=False,
        )

    def fill(self, t: float, client_order_id: str, venue: str, side: str, qty: str, price: str, fee: str) -> None:
        """The whole order, at once; told to the bot right after."""
        number = str(len(self.trades[UM]) + len(self.trades[SPOT]) + 1)
        fee_asset = "BTC" if venue == SPOT and side == "BUY" else "USDT"
        trade = {
            "client_order_id": client_order_id, "order_id": f"o{number}", "trade_id": number, "symbol": "BTCUSDT",
            "side": side, "qty": qty, "price": price, "fee": fee, "fee_asset": fee_asset,
        }
        self.venue(t, "trade", venue, **trade)
        self.venue(t, "order_reply", venue, client_order_id=client_order_id, status="FILLED")
        self.trades[venue].append(trade)
        self.venue_orders[venue].append({"client_order_id": client_order_id, "status": "FILLED"})
        self._settle(venue, side, D(qty), D(price), D(fee))
        self.bot(t + 0.005, "order_state", client_order_id=client_order_id, intent_id="", state="FILLED")
        self.bot(t + 0.006, "fill_booked", venue=venue, **trade)
        self.fills.append({"venue": venue, "simulated": 0, **trade})
        for order in self.orders:
            if order["client_order_id"] == client_order_id:
                order["state"] = "FILLED"

    def _settle(self, venue: str, side: str, qty: Decimal, price: Decimal, fee: Decimal) -> None:
        sign = 1 if side == "BUY" else -1
        self.exposure += sign * qty
        if venue == UM:
            self.um_position += sign * qty
            # the only round trip is a short from 50000
            self.um_usdt += (D(50_000) - price) * qty * (sign > 0) - fee
        else:
            self.spot["BTC"] += sign * qty - (fee if sign > 0 else 0)
            self.spot["USDT"] -= sign * qty * price + (fee if sign < 0 else 0)
            self.exposure -= fee if sign > 0 else 0

    # --- what is judged

    def evidence(self) -> Evidence:
        start = {"USDT": D(100_000)}
        return Evidence(
            rows=self.rows,
            limits=Limits(D(1050), D(5000), D(20_000), 10, {UM: D("0.001"), SPOT: D("0.00001")}),
            ledger=LedgerEnd(
                self.intents, self.orders, self.fills, funding=self.funding,
                baselines={(UM, "USDT"): "100000", (UM, "BTC"): "0", (SPOT, "USDT"): "100000", (SPOT, "BTC"): "2"},
                events=self.events,
            ),
            venues={
                UM: VenueEnd(
                    "perp", "BTCUSDT", "BTC", "USDT", start, {"USDT": self.um_usdt}, self.venue_orders[UM],
                    self.trades[UM], self.um_position, self.fundings,
                ),
                SPOT: VenueEnd(
                    "spot", "BTCUSDT", "BTC", "USDT", {**start, "BTC": D(2)}, self.spot, self.venue_orders[SPOT],
                    self.trades[SPOT],
                ),
            },
            quiesced=self.quiesced, profile=self.profile, hold_exit=self.hold_exit,
            tops=self.tops, canaries=self.canaries, written=self.written, two_man=self.two_man,
            trace_hashes=self.trace_hashes,
        )

    def find(self, kind: str, **fields: Any) -> dict[str, Any]:
        """The first such row, to be bent."""
        for row in self.rows:
            if row["kind"] == kind and all(row.get(name) == value for name, value in fields.items()):
                return row
        raise LookupError(f"no {kind} row with {fields}")

    def drop(self, kind: str, **fields: Any) -> None:
        self.rows.remove(self.find(kind, **fields))

    def move(self, kind: str, to_t: float, **fields: Any) -> None:
        self.find(kind, **fields)["t"] = to_t

    def trade_order(self, t: float, client_order_id: str, purpose: str, venue: str, side: str, qty: str) -> None:
        """A single-legged intent from commit to fill."""
        price = "50000"
        self.commit(t, f"i-{client_order_id}", purpose, (client_order_id, venue, side, qty))
        self.send(t + 0.001, client_order_id, purpose, venue, side, qty, price)
        fee = "0.00000001" if (venue, side) == (SPOT, "BUY") else "0.05"
        self.fill(t + 0.01, client_order_id, venue, side, qty, price, fee)


def clean_run() -> Run:
    run = Run()
    run.start(0)
    run.commit(10, "i1", "open", ("pb1", UM, "SELL", "0.010"), ("pb2", SPOT, "BUY", "0.01002"))
    run.send(10.001, "pb1", "open", UM, "SELL", "0.010", "50000")
    run.send(10.001, "pb2", "open", SPOT, "BUY", "0.01002", "50010")
    run.fill(10.01, "pb1", UM, "SELL", "0.010", "50000", "0.085")
    run.fill(10.012, "pb2", SPOT, "BUY", "0.01002", "49990", "0.00001002")
    run.bot(20, "crash")
    run.start(22)
    run.commit(30, "i2", "close", ("pb3", UM, "BUY", "0.010"), ("pb4", SPOT, "SELL", "0.01"))
    run.send(30.001, "pb3", "close", UM, "BUY", "0.010", "49900")
    run.send(30.001, "pb4", "close", SPOT, "SELL", "0.01", "49890")
    run.fill(30.01, "pb3", UM, "BUY", "0.010", "49900", "0.0848")
    run.fill(30.012, "pb4", SPOT, "SELL", "0.01", "49890", "0.0499")
    run.set_mode(40, "HOLD", "operator:anna", "lunch")
    run.bot(200, "recon", venue=UM, agrees=True, detail="")
    return run


def kinds(run: Run) -> set[str]:
    return {violation.invariant for violation in check(run.evidence())}


def test_a_clean_run_passes() -> None:
    violations = check(clean_run().evidence())
    assert not violations, report(violations)


# --- I1


def open_in_hold(run: Run) -> None:
    run.set_mode(9.95, "HOLD", "guard:recon", "planted")
    run.find("order_send", client_order_id="pb1")["mode"] = "HOLD"
    run.find("order_send", client_order_id="pb2")["mode"] = "HOLD"
    run.bot(11, "resume", operator="anna", mode="RUN")
    run.set_mode(11, "RUN", "operator:anna")


def open_while_draining(run: Run) -> None:
    run.find("mode", mode="RUN")["mode"] = "DRAIN"
    for client_order_id in ("pb1", "pb2"):
        run.find("order_send", client_order_id=client_order_id)["mode"] = "DRAIN"


def send_in_safe_mode(run: Run) -> None:
    run.bot(9, "flags", safe_mode=True, dry_run_only=False)


def send_by_a_dead_bot(run: Run) -> None:
    run.move("crash", 9.0)


def order_that_skipped_the_gate(run: Run) -> None:
    run.drop("order_send", client_order_id="pb3")


def gate_that_saw_another_mode(run: Run) -> None:
    run.find("order_send", client_order_id="pb1")["mode"] = "DRAIN"


def hold_hedge(run: Run, t: float, **changes: Any) -> None:
    """A leg that filled alone right before the HOLD, hedged `t` seconds after it."""
    run.trade_order(39.99, "pb5", "open", UM, "SELL", "0.002")
    run.commit(40 + t, "i6", "hedge", ("pb6", SPOT, "BUY", "0.002"))
    run.send(40 + t, "pb6", "hedge", SPOT, "BUY", "0.002", "50000", **changes)
    run.fill(40.02 + t, "pb6", SPOT, "BUY", "0.002", "50000", "0.00000001")


def late_hedge(run: Run) -> None:
    hold_hedge(run, 6)


def hedge_when_frozen(run: Run) -> None:
    run.hold_exit = "freeze"
    hold_hedge(run, 1)


def hedge_with_a_lie(run: Run) -> None:
    hold_hedge(run, 1, exposure_before="0.002", exposure_after="0.001")


def hedge_that_raises_exposure(run: Run) -> None:
    run.commit(41, "i5", "hedge", ("pb5", UM, "SELL", "0.0001"))
    run.send(41, "pb5", "hedge", UM, "SELL", "0.0001", "50000")
    run.fill(41.01, "pb5", UM, "SELL", "0.0001", "50000", "0")


def unwind_of_a_perp_without_reduce_only(run: Run) -> None:
    run.trade_order(39.99, "pb5", "open", UM, "SELL", "0.002")
    run.trade_order(41, "pb6", "unwind", UM, "BUY", "0.002")


def test_a_hedge_soon_after_a_hold_is_allowed() -> None:
    run = clean_run()
    hold_hedge(run, 1)
    violations = check(run.evidence())
    assert not violations, report(violations)


def test_safe_mode_set_with_the_hold_does_not_stop_its_wind_down_and_later_it_does() -> None:
    run = clean_run()
    hold_hedge(run, 1)
    together, later = copy.deepcopy(run), copy.deepcopy(run)
    together.bot(40, "flags", safe_mode=True, dry_run_only=False)
    later.bot(40.5, "flags", safe_mode=True, dry_run_only=False)
    assert kinds(together) == set()
    assert kinds(later) == {"I1"}


# --- I2


def order_too_large(run: Run) -> None:
    run.find("order", client_order_id="pb1")["price"] = "150000"
    run.find("order_send", client_order_id="pb1")["price"] = "150000"


def order_that_is_no_number(run: Run) -> None:
    for kind in ("order", "order_send"):
        run.find(kind, client_order_id="pb1")["price"] = "NaN"
    run.find("order_send", client_order_id="pb1")["price"] = None


def too_many_open_orders(run: Run) -> None:
    legs = [(f"pbx{i}", SPOT, "BUY", "0.0001") for i in range(11)]
    run.commit(12, "ix", "open", *legs)
    for client_order_id, venue, side, qty in legs:
        run.send(12.001, client_order_id, "open", venue, side, qty, "40000")
    for order in run.orders[-11:]:
        order["state"] = "CANCELED"


def position_too_large(run: Run) -> None:
    """Six pairs, each of 1000."""
    late_trading(run)
    for i in range(6):
        run.trade_order(50 + i, f"pbs{i}", "open", SPOT, "BUY", "0.0201")
        run.trade_order(50.1 + i, f"pbu{i}", "open", UM, "SELL", "0.0201")


def late_trading(run: Run) -> None:
    """An operator lets the bot trade on after its HOLD."""
    run.bot(49, "resume", operator="anna", mode="RUN")
    run.set_mode(49, "RUN", "operator:anna")


def too_many_orders_a_minute(run: Run) -> None:
    """One after another: only their number is wrong."""
    late_trading(run)
    legs = [(f"pbm{i}", SPOT, "BUY", "0.0001") for i in range(601)]
    run.commit(50, "im", "open", *legs)
    for i, (client_order_id, venue, side, qty) in enumerate(legs):
        t = 50 + i * 0.02
        run.send(t, client_order_id, "open", venue, side, qty, "40000")
        run.venue(t + 0.01, "order_reply", SPOT, client_order_id=client_order_id, status="EXPIRED")
        run.orders[-1 - i]["state"] = "CANCELED"


# --- I3


def intent_without_outcome(run: Run) -> None:
    run.commit(35, "i5", "open", ("pb5", UM, "SELL", "0.010"))


def unknown_for_too_long(run: Run) -> None:
    run.bot(81, "order_state", client_order_id="pb9", intent_id="", state="UNKNOWN")
    run.bot(160, "order_state", client_order_id="pb9", intent_id="", state="CANCELED")


def outcome_that_changes(run: Run) -> None:
    run.bot(35, "order_state", client_order_id="pb3", intent_id="", state="CANCELED")


def outcome_that_is_untrue(run: Run) -> None:
    run.orders[0]["state"] = "CANCELED"


def never_sent_but_at_the_venue(run: Run) -> None:
    run.commit(35, "i5", "open", ("pb5", UM, "SELL", "0.010"))
    run.send(35, "pb5", "open", UM, "SELL", "0.010", "51000")
    run.venue_orders[UM].append({"client_order_id": "pb5", "status": "EXPIRED"})
    run.orders[-1]["state"] = "NEVER_SENT"


def two_outcomes_in_the_ledger(run: Run) -> None:
    run.orders.append(dict(run.orders[0]))


# --- I4 to I8


def intent_after_the_order(run: Run) -> None:
    run.move("intent_committed", 30.02, intent_id="i2")


def order_without_intent(run: Run) -> None:
    run.find("intent_committed", intent_id="i2")["client_order_ids"] = ["pb3"]


def another_order_than_sent(run: Run) -> None:
    run.find("order_send", client_order_id="pb1")["qty"] = "0.009"


def id_used_twice(run: Run) -> None:
    row = run.find("order_send", client_order_id="pb3")
    run.rows.insert(run.rows.index(row), dict(row))


def id_that_is_illegal(run: Run) -> None:
    for row in run.rows:
        if row.get("client_order_id") == "pb1":
            row["client_order_id"] = "pb_1"
    run.find("intent_committed", intent_id="i1")["client_order_ids"] = ["pb_1", "pb2"]
    for table in (run.orders, run.fills, run.trades[UM], run.venue_orders[UM]):
        for row in table:
            if row["client_order_id"] == "pb1":
                row["client_order_id"] = "pb_1"


def order_that_reached_the_venue_twice(run: Run) -> None:
    row = run.find("order", client_order_id="pb3")
    run.rows.insert(run.rows.index(row), dict(row))


def order_accepted_twice(run: Run) -> None:
    run.venue_orders[UM].append({"client_order_id": "pb1", "status": "EXPIRED"})


def fill_with_another_fee(run: Run) -> None:
    run.fills[0]["fee"] = "0.084"


def fill_with_another_trade_id(run: Run) -> None:
    run.fills[3]["trade_id"] = "77"


def position_that_differs(run: Run) -> None:
    run.um_position = D("0.001")


def order_left_open(run: Run) -> None:
    run.venue_orders[UM].append({"client_order_id": "pb8", "status": "NEW"})


def agreement_claimed_in_spite_of_a_foreign_trade(run: Run) -> None:
    foreign_trade(run)
    run.set_mode(60, "HOLD", "guard:recon", "planted")
    run.bot(60, "hold_cause", source="guard:recon", reason="binance-spot BTC ledger 0, venue 0.001")


def foreign_trade(run: Run) -> None:
    trade = {
        "client_order_id": "web1", "order_id": "f1", "trade_id": "f1", "symbol": "BTCUSDT", "side": "BUY",
        "qty": "0.001", "price": "50000", "fee": "0", "fee_asset": "USDT",
    }
    run.venue(50, "trade", UM, **trade)
    run.trades[UM].append(trade)
    run.um_position += D("0.001")


def cash_that_differs(run: Run) -> None:
    run.um_usdt += D("0.00000002")


def spot_fee_in_the_wrong_asset(run: Run) -> None:
    for table in (run.fills, run.trades[SPOT]):
        for row in table:
            if row["trade_id"] == "4":
                row["fee_asset"] = "BNB"
    run.spot["USDT"] += D("0.0499")
    run.spot["BNB"] = -D("0.0499")


def funding_that_nobody_booked(run: Run) -> None:
    run.fundings.append({"asset": "USDT", "amount": "-0.5"})
    run.um_usdt -= D("0.5")


# --- I9, I11, I15


def naked_leg(run: Run) -> None:
    run.trade_order(31, "pb5", "open", UM, "SELL", "0.002")


def restart_that_leaves_hold(run: Run) -> None:
    run.set_mode(15, "HOLD", "guard:recon", "planted")


def hold_left_by_a_recovery(run: Run) -> None:
    run.set_mode(15, "HOLD", "guard:feed_stale", "planted")
    run.set_mode(16, "RUN", "guard:feed_stale")


def live_start_in_run(run: Run) -> None:
    run.profile = "live"


def intent_lost_by_the_crash(run: Run) -> None:
    run.commit(19, "i5", "open", ("pb5", UM, "SELL", "0.010"))
    del run.intents[-1], run.orders[-1]


def fill_lost_by_the_crash(run: Run) -> None:
    run.bot(
        19, "fill_booked", venue=SPOT, symbol="BTCUSDT", order_id="o9", trade_id="9", side="BUY", qty="1", price="1",
        fee="0", fee_asset="BTC",
    )


def start_that_never_agrees(run: Run) -> None:
    run.rows = [row for row in run.rows if row["kind"] != "recon"]
    run.find("mode", mode="HOLD")["t"] = 60


PLANTED: list[tuple[str, Callable[[Run], None]]] = [
    *(
        ("I1", bug)
        for bug in (
            open_in_hold, open_while_draining, send_in_safe_mode, order_that_skipped_the_gate, send_by_a_dead_bot,
            gate_that_saw_another_mode, hedge_when_frozen, hedge_with_a_lie, hedge_that_raises_exposure,
            unwind_of_a_perp_without_reduce_only, late_hedge,
        )
    ),
    *(
        ("I2", bug)
        for bug in (
            order_too_large, order_that_is_no_number, too_many_open_orders, position_too_large,
            too_many_orders_a_minute,
        )
    ),
    *(
        ("I3", bug)
        for bug in (
            intent_without_outcome, unknown_for_too_long, outcome_that_changes, outcome_that_is_untrue,
            never_sent_but_at_the_venue, two_outcomes_in_the_ledger,
        )
    ),
    *(("I4", bug) for bug in (intent_after_the_order, order_without_intent, another_order_than_sent)),
    *(
        ("I5", bug)
        for bug in (id_used_twice, id_that_is_illegal, order_that_reached_the_venue_twice, order_accepted_twice)
    ),
    *(("I6", bug) for bug in (fill_with_another_fee, fill_with_another_trade_id)),
    *(("I7", bug) for bug in (position_that_differs, order_left_open, agreement_claimed_in_spite_of_a_foreign_trade)),
    *(("I8", bug) for bug in (cash_that_differs, spot_fee_in_the_wrong_asset, funding_that_nobody_booked)),
    ("I9", naked_leg),
    *(("I11", bug) for bug in (restart_that_leaves_hold, hold_left_by_a_recovery, live_start_in_run)),
    *(("I15", bug) for bug in (intent_lost_by_the_crash, fill_lost_by_the_crash, start_that_never_agrees)),
]


@pytest.mark.parametrize(("invariant", "plant"), PLANTED, ids=[bug.__name__ for _, bug in PLANTED])
def test_a_planted_bug_is_caught_and_named(invariant: str, plant: Callable[[Run], None]) -> None:
    run = clean_run()
    plant(run)
    violations = check(run.evidence())
    assert {each.invariant for each in violations} == {invariant}, report(violations)


def test_a_fill_booked_twice_is_named_beside_the_position_that_it_spoils() -> None:
    run = clean_run()
    run.fills.append(dict(run.fills[0]))
    assert kinds(run) == {"I6", "I7"}


# --- what is legal


def test_a_naked_leg_may_stand_in_hold_and_while_no_bot_is_alive() -> None:
    held = clean_run()
    held.trade_order(31, "pb5", "open", UM, "SELL", "0.002")
    held.move("mode", 36.05, mode="HOLD")
    held.move("state_saved", 36.06, mode="HOLD")
    assert kinds(held) == set()


def test_play_money_goes_on_after_a_plain_stop_and_after_a_hold_nobody_could_save() -> None:
    stopped, forgotten = clean_run(), clean_run()
    stopped.set_mode(15, "HOLD", "shutdown", "SIGTERM")
    forgotten.set_mode(19.9, "HOLD", "guard:recon", "planted", saved=False)
    for run in (stopped, forgotten):
            assert kinds(run) == set()
    forgotten.bot(19.95, "state_saved", mode="HOLD", generation=3)
    assert kinds(forgotten) == {"I11"}


def test_a_hold_that_a_broken_disk_could_not_keep_may_be_forgotten() -> None:
    run = clean_run()
    run.harness(15, "disk", broken=True)
    run.set_mode(16, "HOLD", "guard:ledger", "planted", saved=False)
    assert kinds(run) == set()


def test_a_difference_that_recon_found_and_holds_for_is_no_violation() -> None:
    run = clean_run()
    foreign_trade(run)
    # the trade costs nothing until it is closed
    run.rows = [row for row in run.rows if not (row["kind"] == "recon" and row["t"] > 50)]
    run.bot(60, "hold_cause", source="guard:recon", reason="binance-um BTCUSDT ledger 0, venue 0.001")
    assert kinds(run) == set()


@pytest.mark.parametrize(("hedged_at", "found"), [(55, set()), (60, {"I9"})])
def test_what_a_hold_left_open_has_its_time_anew_when_it_is_left_for_drain(hedged_at: float, found: set[str]) -> None:
    """Also shortly after a start, whose own deadline of 35.1 s ends in between (seed 39)."""
    run = Run()
    run.start(0)
    run.trade_order(10, "pb1", "open", UM, "SELL", "0.002")
    run.set_mode(11, "HOLD", "guard:hedge", "naked")
    run.bot(15, "crash")
    run.start(17, "HOLD")
    run.bot(51, "resume", operator="anna", mode="DRAIN")
    run.set_mode(51, "DRAIN", "operator:anna")
    run.trade_order(hedged_at, "pb2", "hedge", SPOT, "BUY", "0.002")
    run.set_mode(70, "HOLD", "operator:anna", "lunch")
    run.bot(200, "recon", venue=UM, agrees=True, detail="")
    assert kinds(run) == found


def test_without_rest_only_what_must_hold_at_every_moment_is_judged() -> None:
    run = clean_run()
    run.quiesced = False
    run.um_position = D("0.001")
    run.orders[0]["state"] = "UNKNOWN"
    assert kinds(run) == set()


def test_a_correction_may_change_an_outcome() -> None:
    run = clean_run()
    run.find("order_state", client_order_id="pb3")["state"] = "REJECTED"
    run.bot(33, "order_correction", client_order_id="pb3", reason="the venue found it")
    run.bot(33, "order_state", client_order_id="pb3", intent_id="", state="FILLED")
    assert kinds(run) == set()


def test_evidence_without_the_bots_modes_is_refused() -> None:
    run = clean_run()
    run.rows = [row for row in run.rows if row["kind"] != "mode"]
    with pytest.raises(ValueError, match="no mode row"):
        check(run.evidence())
