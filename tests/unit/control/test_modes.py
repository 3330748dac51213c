"""RUN, DRAIN, HOLD: in at once and by anybody, out by an operator alone; and how a start chooses."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
import trio
from attrs import evolve

from propbot.control.modes import CAUSES_KEPT_MAX, ModeKeeper, ModeRules, ModeView, ResumeRefused, choose_start
from propbot.domain.mode import CancelResult, Cause, HoldExit, HoldRecord, Mode
from propbot.kit.level import Level
from propbot.kit.switch import Switch

if TYPE_CHECKING:
    from tests.unit.control.conftest import HandClock, Rows


# --- into HOLD


async def test_hold_is_in_force_before_any_other_task_runs(modes: ModeKeeper) -> None:
    """The executing task notices at its next checkpoint; flag and mode have changed before."""
    seen: list[tuple[bool, Mode]] = []

    async def task() -> None:
        try:
            await trio.sleep_forever()
        finally:
            seen.append((modes.switch.halted, modes.view.mode))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(modes.switch.run_while_armed, task)
        await trio.testing.wait_all_tasks_blocked()
        modes.hold("a reason", "operator:ann")
        state = modes.gate_state()
        assert (modes.switch.halted, modes.view.mode, state.halted, state.mode) == (True, Mode.HOLD, True, Mode.HOLD)
        assert seen == [], "no checkpoint has passed"
        await trio.testing.wait_all_tasks_blocked()
        assert seen == [(True, Mode.HOLD)]
        nursery.cancel_scope.cancel()


def test_the_first_cause_stays_and_later_ones_are_appended(modes: ModeKeeper, hand_clock: HandClock) -> None:
    modes.hold("one", "guard:recon")
    first = modes.view.hold
    assert first is not None
    hand_clock.pass_s(2)
    modes.hold("two", "operator:ann")
    modes.hold("two", "operator:ann")
    modes.hold("one", "guard:recon")
    hold = modes.view.hold
    assert hold is not None
    assert hold.first == first.first
    assert [(cause.reason, cause.source) for cause in hold.causes] == [("one", "guard:recon"), ("two", "operator:ann")]
    assert hold.causes[1].since_ns - hold.causes[0].since_ns == 2_000_000_000


def test_causes_do_not_grow_without_bound(modes: ModeKeeper) -> None:
    for number in range(CAUSES_KEPT_MAX * 2):
        modes.hold(f"reason {number}", "guard:recon")
    hold = modes.view.hold
    assert hold is not None
    assert len(hold.causes) == CAUSES_KEPT_MAX
    assert hold.first.reason == "reason 0"


def test_a_hold_remembers_the_mode_that_it_ended(modes: ModeKeeper) -> None:
    modes.resume("ann", Mode.DRAIN)
    modes.hold("stop", "shutdown")
    modes.hold("again", "shutdown")
    assert modes.view.before is Mode.DRAIN


def test_a_later_cause_does_not_prolong_the_deadline_for_hedging(modes: ModeKeeper, hand_clock: HandClock) -> None:
    modes.hold("one", "guard:recon")
    hand_clock.pass_s(3)
    modes.hold("two", "guard:feed_stale")
    assert modes.gate_state().hold_age_s == pytest.approx(3.0)


def test_the_age_of_a_hold_follows_the_monotonic_clock(modes: ModeKeeper, hand_clock: HandClock) -> None:
    assert modes.gate_state().hold_age_s is None
    modes.hold("one", "guard:recon")
    hand_clock.wall -= 3_600_000_000_000
    hand_clock.mono += 1.5
    assert modes.gate_state().hold_age_s == pytest.approx(1.5)


def test_the_winddowns_exemption_belongs_to_its_hold_alone(modes: ModeKeeper) -> None:
    modes.hold("with flags", "operator:ann", winddown_exempt=True)
    assert modes.gate_state().winddown_exempt
    modes.resume("ann")
    modes.hold("another", "guard:recon")
    assert not modes.gate_state().winddown_exempt


def test_what_was_left_is_written_into_the_hold_and_forgotten_with_it(modes: ModeKeeper) -> None:
    modes.note_cancel(CancelResult(1, 0.1))
    assert modes.view.hold is None
    modes.hold("one", "guard:recon")
    modes.note_cancel(CancelResult(0, 0.2))
    hold = modes.view.hold
    assert hold is not None
    assert hold.line().endswith("by guard:recon: one; 0 orders left")
    modes.resume("ann")
    modes.hold("two", "guard:recon")
    assert modes.view.hold is not None
    assert modes.view.hold.cancel is None


# --- out of HOLD


@pytest.mark.parametrize("mode", [Mode.RUN, Mode.DRAIN])
def test_an_operator_leaves_hold(modes: ModeKeeper, rows: Rows, mode: Mode) -> None:
    modes.hold("one", "guard:recon")
    modes.resume("ann", mode)
    assert (modes.view.mode, modes.view.hold, modes.switch.halted) == (mode, None, False)
    assert modes.gate_state().hold_age_s is None
    assert rows.rows[-2:] == [
        {"kind": "resume", "operator": "ann", "mode": str(mode)},
        {"kind": "mode", "mode": str(mode), "source": "operator:ann", "reason": ""},
    ]


@pytest.mark.parametrize("mode", [Mode.RUN, Mode.DRAIN])
def test_what_has_not_cleared_refuses_the_resume_with_every_reason(modes: ModeKeeper, mode: Mode) -> None:
    modes.blockers = lambda mode: ["guard:recon has not cleared: x", "guard:ledger has not cleared: y"]
    modes.hold("one", "guard:recon")
    with pytest.raises(ResumeRefused) as refused:
        modes.resume("ann", mode)
    assert refused.value.reasons == ("guard:recon has not cleared: x", "guard:ledger has not cleared: y")
    assert modes.view.mode is Mode.HOLD
    assert modes.switch.halted


def test_a_start_that_is_not_through_refuses_too(hand_clock: HandClock, rows: Rows) -> None:
    view = ModeView(Mode.HOLD, False, False, HoldRecord((Cause("x", "startup", 1),)))
    modes = ModeKeeper(Level(view), Switch(), ModeRules(HoldExit.UNWIND, 5.0), hand_clock, rows)
    with pytest.raises(ResumeRefused, match="reconciliation has not agreed"):
        modes.resume("ann")
    modes.let_trade()
    assert modes.switch.halted, "being ready arms nothing in HOLD"
    modes.resume("ann")
    assert not modes.switch.halted


def test_nothing_is_armed_before_the_start_is_through(hand_clock: HandClock, rows: Rows) -> None:
    view = ModeView(Mode.RUN, False, False)
    modes = ModeKeeper(Level(view), Switch(), ModeRules(HoldExit.UNWIND, 5.0), hand_clock, rows)
    assert modes.gate_state().halted
    assert not modes.ready
    modes.resume("ann", Mode.DRAIN)
    assert modes.gate_state().halted
    modes.let_trade()
    assert not modes.gate_state().halted


def test_draining_from_run_is_always_allowed_and_running_again_is_not(modes: ModeKeeper) -> None:
    modes.blockers = lambda mode: ["guard:recon has not cleared"]
    modes.resume("ann", Mode.DRAIN)
    assert modes.view.mode is Mode.DRAIN
    with pytest.raises(ResumeRefused):
        modes.resume("ann", Mode.RUN)


def test_a_resume_to_the_mode_in_force_changes_nothing(modes: ModeKeeper, rows: Rows) -> None:
    modes.blockers = lambda mode: ["not asked"]
    count = len(rows.rows)
    modes.resume("ann", Mode.RUN)
    assert len(rows.rows) == count


@pytest.mark.parametrize(("safe", "dry"), list(product((True, False, None), repeat=2)))
def test_flags_change_as_asked_in_every_mode_and_leave_the_mode_alone(
    modes: ModeKeeper, safe: bool | None, dry: bool | None
) -> None:
    for hold in (False, True):
        if hold:
            modes.hold("one", "guard:recon")
        before = modes.view
        modes.set_flags(safe_mode=safe, dry_run_only=dry)
        wanted = (before.safe_mode if safe is None else safe, before.dry_run_only if dry is None else dry)
        state = modes.gate_state()
        assert (state.safe_mode, state.dry_run_only) == wanted
        assert (modes.view.mode, modes.view.hold) == (before.mode, before.hold)


# --- a start

NOW_NS = 1_790_000_000_000_000_000
STARTUP, SHUTDOWN = Cause("asked for HOLD", "startup", 1), Cause("stopped by SIGTERM", "shutdown", 2)
OPERATOR, GUARD = Cause("pause", "operator:ann", 3), Cause("mismatch", "guard:recon", 4)
CRASH = Cause("task trading ended", "crash:trading", 5)


def _start(stored: ModeView | None, *, configured: Mode = Mode.RUN, paper: bool = True, **flags: bool) -> ModeView:
    chosen = {"safe_mode": False, "dry_run_only": False} | flags
    return choose_start(configured=configured, paper=paper, stored=stored, now_ns=NOW_NS, **chosen)


def _held(*causes: Cause, before: Mode = Mode.RUN) -> ModeView:
    return ModeView(Mode.HOLD, False, False, HoldRecord(causes), before)


RUNNING, DRAINING = ModeView(Mode.RUN, False, False), ModeView(Mode.DRAIN, False, False)
STICKY = [(OPERATOR,), (GUARD,), (CRASH,), (STARTUP, GUARD), (SHUTDOWN, OPERATOR), (OPERATOR, SHUTDOWN)]
HARMLESS = [(STARTUP,), (SHUTDOWN,), (STARTUP, SHUTDOWN)]
STORED: list[Any] = [None, RUNNING, DRAINING] + [
    _held(*causes, before=before) for causes in STICKY + HARMLESS for before in (Mode.RUN, Mode.DRAIN)
]


@pytest.mark.parametrize("configured", Mode)
@pytest.mark.parametrize("stored", STORED)
def test_testnet_and_live_always_start_in_hold(configured: Mode, stored: ModeView | None) -> None:
    start = _start(stored, configured=configured, paper=False)
    assert start.mode is Mode.HOLD
    assert start.hold is not None
    if stored is not None and stored.hold is not None:
        assert start.hold.causes == stored.hold.causes
    else:
        assert [cause.source for cause in start.hold.causes] == ["startup"]


@pytest.mark.parametrize("configured", Mode)
@pytest.mark.parametrize("causes", STICKY)
def test_a_hold_that_somebody_meant_stays_one_in_paper_too(causes: tuple[Cause, ...], configured: Mode) -> None:
    start = _start(_held(*causes), configured=configured)
    assert (start.mode, start.hold) == (Mode.HOLD, HoldRecord(causes))


@pytest.mark.parametrize("causes", HARMLESS)
def test_in_paper_stopping_and_starting_again_simply_goes_on(causes: tuple[Cause, ...]) -> None:
    assert _start(_held(*causes)).mode is Mode.RUN
    assert _start(_held(*causes, before=Mode.DRAIN)).mode is Mode.DRAIN
    assert _start(_held(*causes), configured=Mode.HOLD).mode is Mode.HOLD
    assert _start(_held(*causes), configured=Mode.DRAIN).mode is Mode.DRAIN


@pytest.mark.parametrize("configured", Mode)
def test_without_a_past_paper_starts_as_configured(configured: Mode) -> None:
    for stored in (None, RUNNING):
        start = _start(stored, configured=configured)
        assert start.mode is configured
        assert (start.hold is None) is (configured is not Mode.HOLD)


def test_a_drain_goes_on_as_one_in_paper_and_configuration_does_not_lift_it() -> None:
    assert _start(DRAINING, configured=Mode.RUN).mode is Mode.DRAIN
    assert _start(DRAINING, configured=Mode.HOLD).mode is Mode.HOLD, "the stricter one"


@pytest.mark.parametrize("stored", STORED)
def test_the_stricter_flag_wins(stored: ModeView | None) -> None:
    for paper, asked, kept in product((True, False), repeat=3):
        old = None if stored is None else evolve(stored, safe_mode=kept, dry_run_only=not kept)
        start = _start(old, paper=paper, safe_mode=asked, dry_run_only=not asked)
        assert start.safe_mode is (asked or (old is not None and kept))
        assert start.dry_run_only is (not asked or (old is not None and not kept))
