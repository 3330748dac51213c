"""`loop_venues` while the service runs: it limits what is opened, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import trio
from trio.testing import MockClock

from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM
from propbot.serve import make_app
from propbot.service import Service
from propbot.simulate.truth import assert_invariants
from propbot.simulate.world import World, open_world

FEW = "loop_venues has fewer than two venues: nothing is opened"
BOTH = ["binance-um", "binance-spot"]


async def ask(bot: Service, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(make_app(bot)), base_url="http://127.0.0.1") as client:
        answer = await client.request(method, path, json=body)
        return answer.status_code, answer.json()


async def change(bot: Service, **fields: Any) -> tuple[int, Any]:
    return await ask(bot, "PATCH", "/api/ui/control", fields)


async def loop_of(bot: Service) -> Any:
    return (await ask(bot, "GET", "/api/ui/state"))[1]["loop"]


def opened(world: World) -> int:
    return sum(row["purpose"] == "open" for row in world.of_kind("decision"))


async def wait_opened(world: World, more_than: int) -> None:
    with trio.fail_after(120):
        while world.bot is None or opened(world) <= more_than or not world.bot.blotter.lots:
            await trio.sleep(0.1)


async def test_one_venue_lets_open_lots_close_and_opens_nothing_until_the_other_is_back_even_over_a_kill(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        bot = await world.start_bot()
        await wait_opened(world, 0)
        status, answer = await change(bot, safe_mode=True, loop_venues=["binance-um"])
        assert (status, answer) == (200, await one_venue(bot))
        before = opened(world)
        assert bot.blotter.lots, "a lot is open when it is set"
        assert (await change(bot, safe_mode=False))[0] == 200
        with trio.fail_after(600):
            while bot.blotter.lots:
                await trio.sleep(0.1)
        await trio.sleep(30)
        loop = await loop_of(bot)
        assert (loop["venues"], loop["why_not"]) == (["binance-um"], FEW)
        assert opened(world) == before
        await assert_both_venues_are_looked_after(bot)
        await world.kill_bot()

        bot = await world.start_bot()
        await trio.sleep(30)
        assert (await loop_of(bot))["why_not"] == FEW
        assert opened(world) == before
        said = [row.message for row in (await bot.ledger.events_page(500))[0] if row.kind in ("config", "control")]
        assert "loop_venues is binance-um, as an operator set it; the environment says binance-um,binance-spot" in said
        assert "loop_venues: binance-um,binance-spot -> binance-um" in said
        await change(bot, safe_mode=True)
        status, answer = await change(bot, loop_venues=BOTH[::-1])
        assert (status, answer["changes"]) == (200, {"loop_venues": {"old": ["binance-um"], "new": BOTH}})
        await change(bot, safe_mode=False)
        await wait_opened(world, before)
        await world.stop_bot()
        assert_invariants(world)


async def one_venue(bot: Service) -> Any:
    """The whole answer to it, made from what is shown now."""
    return {
        "control": (await ask(bot, "GET", "/api/ui/control-state"))[1],
        "changes": {
            "safe_mode": {"old": False, "new": True}, "loop_venues": {"old": BOTH, "new": ["binance-um"]},
        },
        "ignored_fields": [],
        "warnings": [FEW],
    }


async def assert_both_venues_are_looked_after(bot: Service) -> None:
    """The one that is left out: its book, its private stream and its reconciliation."""
    now = trio.current_time()
    for venue in (BINANCE_UM, BINANCE_SPOT):
        assert bot.unusable(venue) is None
        agreed = bot.reconciler.state[venue].last_agreed_mono_s
        assert agreed is not None
        assert now - agreed < 10
    status, components = await ask(bot, "GET", "/api/ui/status/components")
    health = {item["id"]: item["status"] for item in components["components"]}
    assert status == 200
    assert [health[name] for name in ("venue:binance-um", "venue:binance-spot", "recon")] == ["OK", "OK", "OK"]


async def test_it_obeys_the_rules_of_other_parameters_and_names_what_needs_a_restart(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        bot = await world.start_bot()
        await wait_opened(world, 0)
        status, answer = await change(bot, loop_venues=["binance-um"])
        assert (status, answer["error"]["message"]) == (403, "loop_venues: first set safe_mode or mode HOLD")
        status, answer = await change(bot, safe_mode=True, loop_venues=["okx-perp", "binance-um"], loop_pair="ETHUSDT")
        assert status == 422
        fields = answer["error"]["fields"]
        assert fields["loop_venues"].endswith("restart with LOOP_VENUES to trade on okx-perp")
        assert "restart" in fields["loop_pair"]
        assert not bot.modes.view.safe_mode, "all or nothing"
        assert (await loop_of(bot))["venues"] == BOTH
        status, answer = await change(bot, safe_mode=True, loop_venues=BOTH[::-1], loop_pair="BTCUSDT")
        assert (status, answer["changes"]) == (200, {"safe_mode": {"old": False, "new": True}})
        assert answer["warnings"] == []
