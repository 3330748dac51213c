"""What the harness sees of a service that has come to rest, for the oracle's rules on that (I19, I21)."""

from __future__ import annotations

from pathlib import Path

import trio

from propbot.domain.status import Health
from propbot.service import Service
from propbot.simulate.world import World

FOREIGN = "foreign"
"""A colleague's order that rests on the account is no fault of ours, and a WARN for as long as it rests."""
LONG_MEMORY = ("slo",)
"""It looks back further than the quiet time: what it shows was true while faults were on."""
WELL = (Health.OK,)
OUR_DESCRIPTORS = Path("/proc/self/fd")


def note_rest(world: World, bot: Service) -> None:
    view = bot.modes.view
    causes = [] if view.hold is None else view.hold.causes
    # fees in a third asset leave the day's loss unknown for good, and it says so
    unvalued = any(account.has_unvalued_fees for account in bot.blotter.accounts.values())
    unwell = [
        f"{component.id}: {component.summary}" for component in bot.board.components()
        if component.id in bot.watches and component.id not in LONG_MEMORY and component.status not in WELL
        and FOREIGN not in component.summary and not (component.id == "kill_caps" and unvalued)
    ]
    world.note(
        "at_rest", mode=str(view.mode), causes=[{"source": c.source, "reason": c.reason} for c in causes],
        unwell=unwell, heartbeat_age_s=round(bot.seams.clock.mono_s() - bot.heartbeat_mono_s, 3),
        dead_tasks=sorted(bot.dead_tasks),
    )


def note_resources(world: World) -> None:
    bot = world.bot
    if bot is None or world.dead:
        return
    counts = {
        "tasks": trio.lowlevel.current_statistics().tasks_living,
        "orders whose outcome is open": len(bot.blotter.in_flight()),
        "lots that are not closed": len(bot.blotter.lots),
    }
    if OUR_DESCRIPTORS.is_dir():
        counts["open files"] = sum(1 for _ in OUR_DESCRIPTORS.iterdir())
    world.note("resources", counts=counts)
