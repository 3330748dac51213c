"""Somebody traded on the account; an operator accepts what it holds, and recon clears."""

from __future__ import annotations

from pathlib import Path

import trio
from trio.testing import MockClock

from propbot.api import models
from propbot.control.desk import ServiceDesk
from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM, VenueId
from propbot.domain.mode import Mode
from propbot.ledger.reads import EventFilter
from propbot.service import Service
from propbot.simulate.truth import assert_invariants
from propbot.simulate.world import World, open_world
from propbot.status.desk import BaselineMoved, BaselineOutcome, Conflict, ControlPatch, Done, Unusable
from tests.scenarios.test_two_man import ROLES, Callers, write_people

BASELINE = "/api/ui/baseline"


async def hold_by_foreign_trade(world: World, venue: str = "binance-um") -> Service:
    bot = await world.start_bot()
    await trio.sleep(12)
    world.inject(venue, "foreign_trade", params={"side": "BUY", "qty": "0.05"})
    with trio.fail_after(10):
        await bot.modes.level.wait(lambda view: view.mode is Mode.HOLD)
        await bot.winddown.done.wait()
    await trio.sleep(5)
    return bot


async def accept(bot: Service, venue: VenueId, asset: str) -> BaselineOutcome:
    return await ServiceDesk(bot, bot.keeper).accept_baseline(venue, asset, "a test trade by hand", "ann")


async def test_accepting_what_the_account_holds_clears_recon_and_trading_goes_on(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=8) as world:
        bot = await hold_by_foreign_trade(world)
        desk = ServiceDesk(bot, bot.keeper)
        refused = await desk.apply_control(ControlPatch(mode=Mode.RUN), "ann")
        assert isinstance(refused, Conflict)
        moved = [await accept(bot, BINANCE_UM, asset) for asset in ("BTC", "USDT")]
        assert all(isinstance(each, BaselineMoved) for each in moved), moved
        btc = moved[0]
        assert isinstance(btc, BaselineMoved)
        assert (str(btc.old), str(btc.new)) == ("0", "0.050")
        again = await accept(bot, BINANCE_UM, "BTC")
        assert isinstance(again, Conflict)
        assert "agree already" in again.reasons[0]
        await trio.sleep(12)
        assert isinstance(await desk.apply_control(ControlPatch(mode=Mode.RUN), "ann"), Done)
        await trio.sleep(30)
        assert bot.modes.view.mode is Mode.RUN
        moves = (await bot.ledger.events_page(1000, None, EventFilter(kind="baseline")))[0]
        events = [row for row in moves if row.source.startswith("operator:")]
        assert [(row.source, row.details["old"], row.details["asset"]) for row in reversed(events)] == [
            ("operator:ann", "0", "BTC"), ("operator:ann", events[0].details["old"], "USDT")
        ]  # fmt: skip
        assert "a test trade by hand" in events[0].message
        assert [row["asset"] for row in world.of_kind("baseline")] == ["BTC", "USDT"]
        bot.modes.hold("rest", "operator:test")
        await trio.sleep(130)
        await world.stop_bot()
        assert_invariants(world)
        bot = await world.start_bot()  # durable: the next life agrees as well
        await trio.sleep(10)
        assert bot.reconciler.state[BINANCE_UM].agreed_in_a_row >= 1


async def test_on_spot_base_and_quote_are_accepted_one_by_one(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path, seed=8) as world:
        bot = await hold_by_foreign_trade(world, "binance-spot")
        assert isinstance(await accept(bot, BINANCE_SPOT, "BTC"), BaselineMoved)
        await trio.sleep(5)
        assert bot.watches["recon"].blocker is not None, "the quote still differs"
        assert isinstance(await accept(bot, BINANCE_SPOT, "USDT"), BaselineMoved)
        await trio.sleep(12)  # agreed twice
        assert bot.watches["recon"].blocker is None


async def test_it_is_refused_outside_of_hold_for_what_is_not_there_and_by_one_of_two(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=8) as world:
        bot = await world.start_bot()
        await trio.sleep(12)
        outside = await accept(bot, BINANCE_UM, "BTC")
        assert isinstance(outside, Conflict)
        assert "in HOLD only" in outside.reasons[0]
        assert isinstance(await accept(bot, VenueId("okx-perp"), "BTC"), Unusable)
        assert isinstance(await accept(bot, BINANCE_UM, "DOGE"), Unusable)
        assert world.of_kind("baseline") == []


async def test_a_venue_that_does_not_answer_moves_nothing(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path, seed=8) as world:
        bot = await hold_by_foreign_trade(world)
        world.inject("binance-um", "refuse_connections", params={"cut": True})
        began = trio.current_time()
        assert isinstance(await accept(bot, BINANCE_UM, "BTC"), Conflict)
        assert trio.current_time() - began <= 7
        assert world.of_kind("baseline") == []


def asked_for(asset: str) -> dict[str, str]:
    return {"venue": str(BINANCE_UM), "asset": asset, "reason": "a test trade by hand"}


async def propose_baseline(callers: Callers, who: str, asset: str) -> str:
    answer = await callers.ask(who, "POST", BASELINE, asked_for(asset))
    assert answer.status_code == 202, answer.text
    models.PendingAnswer.model_validate(answer.json())
    id: str = answer.json()["approval"]["id"]
    return id


async def test_under_the_two_man_rule_a_baseline_moves_by_two_people_and_recon_clears(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    people = tmp_path / "operators.json"
    write_people(people, **ROLES)
    async with open_world(tmp_path, seed=8, TWO_MAN_RULE="true", OPERATORS_FILE=str(people)) as world:
        bot = await hold_by_foreign_trade(world)
        callers, before = Callers(bot), dict(bot.baselines)
        proposed = {asset: await propose_baseline(callers, "ann", asset) for asset in ("BTC", "USDT")}
        await trio.sleep(30)
        assert bot.baselines == before, "a proposal moves nothing"
        assert world.of_kind("baseline") == []
        assert bot.watches["recon"].blocker is not None
        again = await callers.ask("ann", "POST", BASELINE, asked_for("BTC"))
        assert again.json()["approval"]["id"] == proposed["BTC"], "the same proposal of the same person is the same one"
        of_cy = await propose_baseline(callers, "cy", "BTC")
        assert (await callers.approve("cy", of_cy)).status_code == 403, "nobody approves what they proposed"
        assert (await callers.approve("ann", proposed["BTC"])).status_code == 403
        assert bot.baselines == before
        for asset, id in proposed.items():
            answer = await callers.approve("bob", id)
            assert answer.status_code == 200, answer.text
            models.ApprovedAnswer.model_validate(answer.json())
            assert answer.json()["approval"]["decided_by"] == "bob"
            assert list(answer.json()["changes"]) == [f"baseline {BINANCE_UM} {asset}"]
            assert (await callers.approve("dee", id)).status_code == 409, "an approval works once"
        assert str(bot.baselines[(BINANCE_UM, "BTC")]) == "0.050"
        moved = [(row["asset"], row["operator"]) for row in world.of_kind("baseline")]
        assert moved == [("BTC", "ann"), ("USDT", "ann")]
        answer = await callers.approve("dee", of_cy)
        assert answer.status_code == 409, "what it would have moved has moved"
        assert len(world.of_kind("baseline")) == 2
        await trio.sleep(12)  # agreed twice
        assert bot.watches["recon"].blocker is None
        assert bot.modes.view.mode is Mode.HOLD, "a baseline that moved leaves no HOLD"
        approvals = (await bot.ledger.events_page(1000, None, EventFilter(kind="approval")))[0]
        said = {row.message for row in approvals}
        for id in proposed.values():
            assert any(id in each and each.endswith(": APPROVED by bob") for each in said), said
        assert (await callers.approve("bob", await callers.propose("ann", mode="RUN"))).status_code == 200
        await trio.sleep(30)
        assert bot.modes.view.mode is Mode.RUN
        await callers.hold("ann")
        await trio.sleep(130)
        await world.stop_bot()
        assert_invariants(world)
