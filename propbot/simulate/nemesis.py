"""Deals a plan's blows to a world: each kind of blow is one method. Bringing the bot back to life is `run_watchman`.

It does only what the outside world can do to a service: kill it, stop it, fail its disk, step its clock, break its
venues, send requests to its API. The oracle reads of it in rows of `"who": "harness"`.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import trio
from attrs import define, field

from propbot.domain.errors import PropBotError
from propbot.domain.mode import Mode
from propbot.kit.supervise import describe
from propbot.simulate.operator import People
from propbot.simulate.plan import UNDONE_LATER, VENUES, Blow
from propbot.simulate.world import World
from propbot.simvenue.faults import FaultError

RESTART_AFTER_S = 3.0
START_AGAIN_S = 5.0


@define(eq=False)
class Nemesis:
    world: World
    people: People
    nursery: trio.Nursery
    dealt: Counter[str] = field(factory=Counter)
    kills: int = 0
    restarts: int = 0
    _ending: bool = False
    _disk_until: float = 0.0
    _ordered: bool = False
    _healed: trio.Event = field(factory=trio.Event)

    # --- the bot's lives

    async def run_watchman(self) -> None:
        """As systemd would: whoever ended, however it ended, it is started again."""
        await self.start()
        while True:
            await self.world.wait_dead()
            if self._ending:
                return
            self.kills += not self._ordered
            self.restarts += 1
            self._ordered = False
            await trio.sleep(RESTART_AFTER_S)
            await self.start()

    async def start(self) -> None:
        while True:
            try:
                await self.world.start_bot()
            except (PropBotError, OSError, BaseExceptionGroup) as error:
                self.world.note("start_failed", story=describe(error))
                await trio.sleep(START_AGAIN_S)
            else:
                return

    async def deal(self, blows: tuple[Blow, ...]) -> None:
        """Each at its time; what lasts goes on beside the next."""
        began = trio.current_time()
        for blow in blows:
            await trio.sleep_until(began + blow.t)
            self.nursery.start_soon(self._deal_one, blow)

    async def _deal_one(self, blow: Blow) -> None:
        if blow.what == "fault":
            await self._break_venue(blow)
            return
        if self.world.dead and blow.what not in ("disk", "state_disk", "clock_step"):
            return
        self.dealt[blow.kind] += 1
        self.world.note("blow", what=blow.what, request=dict(blow.request))
        await ACTS[blow.what](self, blow.request)

    async def _break_venue(self, blow: Blow) -> None:
        request = dict(blow.request)
        undo_s = request.pop("undo_s", None)
        try:
            self.world.inject(blow.venue, blow.name, **request)
        except FaultError:
            return  # not possible now: there is no position to liquidate, for instance
        self.dealt[blow.kind] += 1
        if undo_s is not None:
            back = UNDONE_LATER[blow.name]
            with trio.move_on_after(undo_s):
                await self._healed.wait()
            self.world.inject(blow.venue, blow.name, params=back.get(blow.venue) or back["*"])

    async def come_to_rest(self, quiet_s: float) -> None:
        """Every fault off, then nothing for `quiet_s`; the operator goes on with his duty meanwhile."""
        self.heal()
        self._healed.set()
        self.world.note("faults_off")
        await trio.sleep(quiet_s)

    def heal(self) -> None:
        world = self.world
        assert world.access.inside is not None
        world.access.inside.faults.clear()
        world.disk_fault, world.state_fault, world.bot_clock.offset_ns = None, _nothing, 0
        if world.crash_points is not None:
            world.crash_points.disarm()

    def ending(self) -> None:
        """From here on a bot that ends stays so."""
        self._ending = True

    # --- blows

    async def kill(self, request: Mapping[str, Any]) -> None:
        await self.world.kill_bot()

    async def arm_crash_point(self, request: Mapping[str, Any]) -> None:
        assert self.world.crash_points is not None
        self.world.crash_points.arm(request["at"])

    async def restart(self, request: Mapping[str, Any]) -> None:
        self._ordered = True
        await self.world.stop_bot()

    async def break_disk(self, request: Mapping[str, Any]) -> None:
        error, share, calls = request["error"], request["share"], 0

        def fail(sql: str) -> None:
            nonlocal calls
            calls += 1
            if share == 1.0 or calls % 3 == 0:
                raise sqlite3.OperationalError(error)

        self.world.note("disk", broken=True)
        self.world.disk_fault = fail
        await trio.sleep(request["seconds"])
        if self.world.disk_fault is fail:
            self.world.disk_fault = None
            self.world.note("disk", broken=False)

    async def break_state_disk(self, request: Mapping[str, Any]) -> None:
        def fail() -> None:
            raise OSError(28, "No space left on device")

        self.world.note("disk", broken=True)
        self.world.state_fault = fail
        await trio.sleep(request["seconds"])
        if self.world.state_fault is fail:
            self.world.state_fault = _nothing
            self.world.note("disk", broken=False)

    async def step_clock(self, request: Mapping[str, Any]) -> None:
        self.world.bot_clock.offset_ns = round(request["ms"] * 1e6)
        await trio.sleep(request["seconds"])
        self.world.bot_clock.offset_ns = 0

    async def hold(self, request: Mapping[str, Any]) -> None:
        await self.people.hold(**({"safe_mode": True} if request["with_safe_mode"] else {}))
        if request["with_safe_mode"]:
            await trio.sleep(3)
            await self._ask(safe_mode=False)

    async def drain(self, request: Mapping[str, Any]) -> None:
        if self._mode() is Mode.RUN:
            await self._ask(mode="DRAIN")

    async def set_safe_mode(self, request: Mapping[str, Any]) -> None:
        await self._ask(safe_mode=True)
        await trio.sleep(request["seconds"])
        await self._ask(safe_mode=False)

    async def dry_run(self, request: Mapping[str, Any]) -> None:
        await self._ask(dry_run_only=True)
        await trio.sleep(request["seconds"])
        await self._ask(safe_mode=True, dry_run_only=False)
        await self._ask(safe_mode=False)

    async def intrude(self, request: Mapping[str, Any]) -> None:
        for number in request["probes"]:
            if not self.world.dead:
                await self.people.probe(number)

    async def black_out(self, request: Mapping[str, Any]) -> None:
        """Disk, state file and every venue dead at once, and then a HOLD is asked for (I24)."""
        seconds = request["seconds"]
        for venue in VENUES:
            self.world.inject(venue, "refuse_connections", params={"cut": True, "seconds": seconds})
        self.nursery.start_soon(self.break_disk, {"error": "disk I/O error", "share": 1.0, "seconds": seconds})
        self.nursery.start_soon(self.break_state_disk, {"seconds": seconds})
        await trio.sleep(min(1.0, seconds / 2))
        if not self.world.dead:
            self.world.note("hold_asked", dead=["disk", "ledger", *VENUES])
            await self.people.ask("PATCH", "/api/ui/control", {"mode": "HOLD", "reason": "all is dark"})

    def _mode(self) -> Mode | None:
        return None if self.world.bot is None or self.world.dead else self.world.bot.modes.view.mode

    async def _ask(self, **body: Any) -> None:
        """Until it is taken, or for a while: a disk that fails must not leave safe_mode on for ever."""
        for _ in range(20):
            if not self.world.dead and await self.people.change(**body) == 200:
                return
            await trio.sleep(3)


def _nothing() -> None:
    """No fault."""


ACTS: Mapping[str, Callable[[Nemesis, Mapping[str, Any]], Awaitable[None]]] = {
    "kill": Nemesis.kill, "crash_point": Nemesis.arm_crash_point, "restart": Nemesis.restart,
    "disk": Nemesis.break_disk, "state_disk": Nemesis.break_state_disk, "clock_step": Nemesis.step_clock,
    "operator_hold": Nemesis.hold, "operator_drain": Nemesis.drain, "operator_safe_mode": Nemesis.set_safe_mode,
    "operator_dry_run": Nemesis.dry_run, "intruder": Nemesis.intrude, "blackout": Nemesis.black_out,
}
