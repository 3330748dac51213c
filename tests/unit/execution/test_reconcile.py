"""Reconciliation: what agrees, what differs and is named, and what proves nothing."""

from __future__ import annotations

import itertools
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
import trio
from attrs import evolve

from propbot.domain.errors import LedgerError, OutcomeUnknown, VenueRetry
from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM
from propbot.domain.orders import OrderReport, OrderState, Side, VenuePosition
from propbot.execution.differences import CENT_OF_A_SATOSHI
from propbot.execution.reconcile import TRADES_EVERY_S, ReconResult, Verdict

if TYPE_CHECKING:
    from tests.unit.execution.conftest import Rig


async def _verdict(rig: Rig, venue: Any) -> ReconResult:
    await rig.reconciler.check(venue)
    return rig.recon_results[-1]


def _resting(venue: Any, client_order_id: str) -> OrderReport:
    return OrderReport(
        venue, "BTCUSDT", client_order_id, "5", Side.BUY, OrderState.WORKING, Decimal(1), Decimal(0), 1
    )


@pytest.mark.parametrize("venue", [BINANCE_UM, BINANCE_SPOT])
async def test_an_untouched_account_agrees(rig: Rig, venue: Any, autojump_clock: Any) -> None:
    assert await rig.reconciler.check(venue)
    (result,) = rig.recon_results
    assert result == ReconResult(venue, Verdict.AGREES)
    state = rig.reconciler.state[venue]
    assert (state.agreed_in_a_row, state.differed_in_a_row) == (1, 0)
    assert state.last_agreed_mono_s is not None


async def test_after_trading_both_venues_agree(rig: Rig, autojump_clock: Any) -> None:
    rig.start()
    await rig.open_lot()
    for venue in (BINANCE_UM, BINANCE_SPOT):
        assert (await _verdict(rig, venue)).verdict is Verdict.AGREES


async def test_a_position_that_differs_is_named_with_venue_symbol_and_quantity(
    rig: Rig, autojump_clock: Any
) -> None:
    rig.start()
    await rig.open_lot()
    rig.um.balance["position"] = Decimal("-0.012")
    result = await _verdict(rig, BINANCE_UM)
    assert result.verdict is Verdict.DIFFERS
    assert result.differences == ("binance-um BTCUSDT ledger -0.01, venue -0.012",)


async def test_a_balance_that_differs_is_named_with_its_asset(rig: Rig, autojump_clock: Any) -> None:
    rig.spot.balance["BTC"] = Decimal("-0.5")
    result = await _verdict(rig, BINANCE_SPOT)
    assert result.differences == ("binance-spot BTCUSDT BTC ledger 2, venue 1.5",)
    rig.spot.balance = {"USDT": Decimal(-7)}
    result = await _verdict(rig, BINANCE_SPOT)
    assert result.differences == ("binance-spot BTCUSDT USDT ledger 100000, venue 99993",)


async def test_a_difference_is_looked_at_twice_a_moment_apart(rig: Rig, autojump_clock: Any) -> None:
    rig.spot.balance["BTC"] = Decimal(1)
    began = trio.current_time()
    assert not await rig.reconciler.check(BINANCE_SPOT)
    assert trio.current_time() - began >= 0.3
    assert [result.verdict for result in rig.recon_results] == [Verdict.DIFFERS] * 2
    assert rig.reconciler.state[BINANCE_SPOT].differed_in_a_row == 2


async def test_a_difference_that_heals_within_the_moment_agrees(rig: Rig, autojump_clock: Any) -> None:
    """Balances lag behind trades for a moment."""
    rig.spot.balance["BTC"] = Decimal(1)

    async def heal() -> None:
        await trio.sleep(0.2)
        rig.spot.balance["BTC"] = Decimal(0)

    rig.nursery.start_soon(heal)
    assert await rig.reconciler.check(BINANCE_SPOT)
    state = rig.reconciler.state[BINANCE_SPOT]
    assert (state.agreed_in_a_row, state.differed_in_a_row) == (1, 0)


@pytest.mark.parametrize(
    ("off", "verdict"),
    [(CENT_OF_A_SATOSHI, Verdict.AGREES), (-CENT_OF_A_SATOSHI, Verdict.AGREES), (Decimal("2e-8"), Verdict.DIFFERS)],
)
async def test_the_venues_rounding_is_no_difference(
    rig: Rig, off: Decimal, verdict: Verdict, autojump_clock: Any
) -> None:
    rig.spot.balance["BTC"] = off
    assert (await _verdict(rig, BINANCE_SPOT)).verdict is verdict


async def test_a_perps_position_has_no_tolerance(rig: Rig, autojump_clock: Any) -> None:
    rig.um.balance["position"] = CENT_OF_A_SATOSHI
    assert (await _verdict(rig, BINANCE_UM)).verdict is Verdict.DIFFERS


async def test_an_order_under_way_makes_the_answer_inconclusive(rig: Rig, answer: Any, autojump_clock: Any) -> None:
    rig.start()
    rig.um.script = [answer(answer_s=60)]
    rig.nursery.start_soon(rig.executor.execute, *rig.opening())
    await trio.sleep(40)  # the venue has executed it, we have no answer
    result = await _verdict(rig, BINANCE_UM)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert (await _verdict(rig, BINANCE_SPOT)).verdict is Verdict.AGREES
    await trio.sleep(60)
    assert (await _verdict(rig, BINANCE_UM)).verdict is Verdict.AGREES


async def test_an_order_that_began_and_ended_while_asking_makes_it_inconclusive_then_asked_again(
    rig: Rig, autojump_clock: Any
) -> None:
    rig.start()
    rig.nursery.start_soon(rig.reconciler.check, BINANCE_UM)
    await trio.sleep(0.015)  # in the middle of its questions
    await rig.open_lot()
    await trio.sleep(2)
    assert [result.verdict for result in rig.recon_results] == [Verdict.AGREES]


async def test_books_that_are_not_durable_yet_make_it_inconclusive(rig: Rig, autojump_clock: Any) -> None:
    await rig.executor.execute(*rig.opening())
    assert (await _verdict(rig, BINANCE_UM)).verdict is Verdict.INCONCLUSIVE
    state = rig.reconciler.state[BINANCE_UM]
    assert (state.agreed_in_a_row, state.differed_in_a_row) == (0, 0)


async def test_a_venue_that_does_not_answer_is_unreachable_and_says_why(rig: Rig, autojump_clock: Any) -> None:
    rig.um.down = VenueRetry("binance-um", "connection refused")
    result = await _verdict(rig, BINANCE_UM)
    assert (result.verdict, result.detail) == (Verdict.UNREACHABLE, "binance-um: connection refused")
    state = rig.reconciler.state[BINANCE_UM]
    assert (state.agreed_in_a_row, state.differed_in_a_row) == (0, 0)


async def test_a_ledger_that_cannot_be_read_proves_nothing_and_ends_nothing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, autojump_clock: Any
) -> None:
    async def fail(*_: object) -> None:
        raise LedgerError("disk I/O error")

    with monkeypatch.context() as patched:
        patched.setattr(rig.ledger, "last_trade_id", fail)
        rig.nursery.start_soon(rig.reconciler.run)
        await trio.sleep(5)
        assert {result.verdict for result in rig.recon_results} == {Verdict.UNREACHABLE}
        assert "disk I/O error" in rig.recon_results[0].detail
    await trio.sleep(5)
    assert rig.recon_results[-1].verdict is Verdict.AGREES


async def test_an_unreachable_moment_between_two_differences_does_not_forget_the_first(
    rig: Rig, autojump_clock: Any
) -> None:
    rig.um.balance["position"] = Decimal(1)
    await rig.reconciler.check(BINANCE_UM)
    rig.um.down = VenueRetry("binance-um", "no answer")
    await rig.reconciler.check(BINANCE_UM)
    assert rig.reconciler.state[BINANCE_UM].differed_in_a_row == 2


async def test_a_foreign_open_order_is_counted_and_is_no_difference(rig: Rig, autojump_clock: Any) -> None:
    rig.um.resting = [_resting(BINANCE_UM, "web_1"), _resting(BINANCE_UM, "x-2")]
    assert await _verdict(rig, BINANCE_UM) == ReconResult(BINANCE_UM, Verdict.AGREES, foreign_orders=2)


async def test_an_open_order_of_ours_that_we_do_not_know_is_a_difference(rig: Rig, autojump_clock: Any) -> None:
    rig.um.resting = [_resting(BINANCE_UM, "pbforgotten")]
    result = await _verdict(rig, BINANCE_UM)
    assert result.verdict is Verdict.DIFFERS
    assert "pbforgotten" in result.differences[0]


async def test_fills_that_were_missed_are_booked_before_anything_is_compared(
    rig: Rig, answer: Any, autojump_clock: Any
) -> None:
    """A lost answer, whose order the venue named meanwhile: its fills come from the list of trades."""
    rig.start(fill_search=False, resolver=False)
    rig.um.script = [answer(error=OutcomeUnknown("binance-um", "lost"), fills_with_reply=False)]
    intent, lot = rig.opening()
    await rig.executor.execute(intent, lot)
    perp = intent.legs[1].client_order_id
    report = rig.um.known[perp].report
    rig.blotter.observe_report(evolve(report, filled_qty=Decimal(0), fills=(), state=OrderState.CANCELED))
    assert await rig.reconciler.check(BINANCE_UM)
    assert rig.blotter.accounts[BINANCE_UM].qty == Decimal("-0.01")
    assert len(await rig.ledger.all_fills()) == 2


async def test_a_foreign_trade_differs_is_named_and_looked_at_at_once(rig: Rig, autojump_clock: Any) -> None:
    rig.start()
    rig.nursery.start_soon(rig.reconciler.run)
    await trio.sleep(1)
    count = len(rig.recon_results)
    fill = rig.um.trade_foreign(Side.BUY, Decimal("0.003"))
    rig.reconciler.note_foreign([fill])
    rig.reconciler.note_foreign([fill])
    await trio.sleep(1)  # far less than the interval
    told = [result for result in rig.recon_results[count:] if result.verdict is Verdict.DIFFERS]
    assert [result.venue for result in told] == [BINANCE_UM] * 2
    assert told[0].differences[0] == (
        "binance-um BTCUSDT ledger 0, venue 0.003 (foreign trade: BUY 0.003 BTCUSDT at 60000)"
    )
    assert len(rig.reconciler.state[BINANCE_UM].foreign) == 1


async def test_trades_are_asked_for_from_the_first_contact_and_then_from_the_last_that_was_listed(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, autojump_clock: Any
) -> None:
    asked: list[int | None] = []
    trades = rig.um.trades

    async def listen(symbol: str, from_trade_id: int | None) -> Any:
        asked.append(from_trade_id)
        return await trades(symbol, from_trade_id)

    monkeypatch.setattr(type(rig.um), "trades", lambda self, *args: listen(*args))
    rig.start()
    rig.reconciler.first_trade_ids = {BINANCE_UM: 1}  # type: ignore[misc]
    await rig.reconciler.check(BINANCE_UM)
    await rig.open_lot()
    await rig.settle()
    await rig.reconciler.check(BINANCE_UM)
    assert asked == [1], "the numbers agree and the list is dear"
    await trio.sleep(TRADES_EVERY_S)
    await rig.reconciler.check(BINANCE_UM)
    assert asked == [1, 1], "booked is not listed: an older one may be missing"
    rig.reconciler.look_now(BINANCE_UM)
    await rig.reconciler.check(BINANCE_UM)
    assert asked == [1, 1, 2], "after a reconnect some may have been missed"
    rig.um.balance["USDT"] += 1
    await rig.reconciler.check(BINANCE_UM)
    assert asked == [1, 1, 2, 2, 2], "once before each of the two differences is told"


async def test_a_trade_that_was_missed_is_found_though_a_newer_one_was_booked_meanwhile(
    rig: Rig, autojump_clock: Any
) -> None:
    rig.start()
    rig.reconciler.first_trade_ids = {BINANCE_UM: 1}  # type: ignore[misc]
    assert await rig.reconciler.check(BINANCE_UM)
    missed = rig.um.make_fill(Side.BUY, Decimal(3), "old", "")
    rig.um.foreign.append(missed)
    await rig.open_lot()
    await rig.settle()
    await trio.sleep(TRADES_EVERY_S)
    await rig.reconciler.check(BINANCE_UM)
    await rig.settle()
    assert [fill.trade_id for fill in rig.foreign] == [missed.trade_id]


async def test_what_was_traded_before_the_first_contact_is_not_ours_to_explain(
    rig: Rig, autojump_clock: Any
) -> None:
    old = rig.um.make_fill(Side.BUY, Decimal(3), "old", "")
    rig.um.foreign.append(old)
    rig.reconciler.first_trade_ids = {BINANCE_UM: int(old.trade_id) + 1}  # type: ignore[misc]
    rig.start()
    assert await rig.reconciler.check(BINANCE_UM)
    assert rig.foreign == []


async def test_it_looks_every_interval_and_sooner_while_in_doubt_but_less_and_less(
    rig: Rig, autojump_clock: Any
) -> None:
    rig.nursery.start_soon(rig.reconciler.run)
    await trio.sleep(21)
    calm = len(rig.recon_results)
    assert calm == 2 * 5
    rig.spot.down = VenueRetry("binance-spot", "no answer")
    failed_at: list[float] = []
    rig.reconciler.on_result = lambda result: (
        failed_at.append(trio.current_time()) if result.verdict is Verdict.UNREACHABLE else None
    )
    await trio.sleep(60)
    gaps = [later - earlier for earlier, later in itertools.pairwise(failed_at)]
    assert gaps[0] <= 1.6
    assert all(gap <= 5.1 for gap in gaps)
    assert len(gaps) <= 18, "an interval each, but for the first ones"


async def test_a_venue_that_hangs_delays_no_other(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, autojump_clock: Any
) -> None:
    async def hang(self: Any, symbol: str) -> Any:
        if self.venue == BINANCE_SPOT:
            await trio.sleep(3.0)
            raise VenueRetry("binance-spot", "nothing within 3 s")
        return ()

    monkeypatch.setattr(type(rig.um), "open_orders", hang)
    rig.nursery.start_soon(rig.reconciler.run)
    await trio.sleep(21)
    assert [result.venue for result in rig.recon_results].count(BINANCE_UM) == 5
    assert {result.verdict for result in rig.recon_results if result.venue == BINANCE_SPOT} == {Verdict.UNREACHABLE}


async def test_a_round_waits_for_a_quiet_moment_instead_of_asking_in_vain(
    rig: Rig, answer: Any, autojump_clock: Any
) -> None:
    rig.start()
    rig.um.script = [answer(answer_s=0.6)]
    rig.nursery.start_soon(rig.executor.execute, *rig.opening())
    await trio.sleep(0.1)
    began = trio.current_time()
    assert await rig.reconciler.check(BINANCE_UM)
    assert trio.current_time() - began == pytest.approx(0.6, abs=0.2)
    assert len(rig.recon_results) == 1


async def test_while_an_orders_outcome_stays_open_little_is_asked(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, answer: Any, autojump_clock: Any
) -> None:
    asked: list[str] = []
    for name in ("trades", "positions", "balances", "open_orders"):
        inner = getattr(type(rig.um), name)

        async def listen(self: Any, *args: Any, name: str = name, inner: Any = inner) -> Any:
            if self is rig.um:
                asked.append(name)
            return await inner(self, *args)

        monkeypatch.setattr(type(rig.um), name, listen)
    rig.start(resolver=False)
    rig.um.script = [answer(answer_s=600)]
    rig.nursery.start_soon(rig.executor.execute, *rig.opening())
    await trio.sleep(301)  # executed, and not answered
    rig.nursery.start_soon(rig.reconciler.run)
    await trio.sleep(60)
    assert set(asked) == {"trades"}
    assert len(asked) <= 15


async def test_positions_in_other_symbols_are_named_and_make_no_difference(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, autojump_clock: Any
) -> None:
    async def positions(self: Any, symbol: str) -> Any:
        return [VenuePosition(BINANCE_UM, "ETHUSDT", Decimal("0.50"), Decimal(3000))]

    monkeypatch.setattr(type(rig.um), "positions", positions)
    result = await _verdict(rig, BINANCE_UM)
    assert (result.verdict, result.foreign_positions) == (Verdict.AGREES, ("ETHUSDT 0.5",))


async def test_an_order_that_is_presumed_dead_does_not_stand_in_the_way_of_its_own_proof(
    rig: Rig, answer: Any, autojump_clock: Any
) -> None:
    rig.start(resolver=False)
    rig.um.script = [answer(error=OutcomeUnknown("binance-um", "lost"), reaches=False)]
    lot = rig.lot()
    leg = rig.leg(BINANCE_UM, Side.SELL)
    await rig.executor.execute(rig.intent(lot, leg), lot)
    assert not await rig.reconciler.check(BINANCE_UM)
    rig.blotter.orders[leg.client_order_id].presumed_dead = True
    assert await rig.reconciler.check(BINANCE_UM)


async def test_an_older_trade_is_found_though_a_newer_one_is_booked(rig: Rig, autojump_clock: Any) -> None:
    rig.start()
    assert await rig.reconciler.check(BINANCE_UM)
    untold = rig.um.trade_foreign(Side.BUY, Decimal(1))
    told = rig.um.trade_foreign(Side.BUY, Decimal(2))
    rig.blotter.observe_fills([told])
    await rig.settle()
    assert not await rig.reconciler.check(BINANCE_UM)
    await rig.settle()
    assert {fill.trade_id for fill in rig.foreign} == {told.trade_id, untold.trade_id}


async def test_a_trade_that_an_unknown_order_may_explain_is_nobody_elses_until_that_is_known(
    rig: Rig, autojump_clock: Any
) -> None:
    rig.start()
    lot = rig.lot()
    leg = rig.leg(BINANCE_UM, Side.SELL)
    rig.blotter.put_lot(lot)
    rig.blotter.register(rig.intent(lot, leg))
    rig.blotter.mark_sending(leg.client_order_id)
    rig.blotter.mark_unknown(leg.client_order_id, "lost")
    trade = evolve(rig.um.trade_foreign(Side.SELL, leg.qty), client_order_id="")
    rig.um.foreign[:] = [trade]
    assert await rig.reconciler.read_trades(BINANCE_UM) == [trade]
    await rig.settle()
    assert rig.foreign == []
    rig.blotter.mark_never_sent(leg.client_order_id, "proved otherwise")
    assert await rig.reconciler.read_trades(BINANCE_UM) == []
    await rig.settle()
    assert [fill.trade_id for fill in rig.foreign] == [trade.trade_id]
