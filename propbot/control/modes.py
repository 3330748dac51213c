"""RUN, DRAIN, HOLD: who may change them, and the one synchronous step into HOLD.

`hold` sets mode, record and halted flag and cancels the execution scope with no checkpoint between. Persisting,
cancelling at the venues and telling people follow in tasks of their own; none of them can prevent it. Only
`resume` leaves HOLD, and only an operator calls it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define, evolve, field, frozen

from propbot.domain.approvals import Seconded
from propbot.domain.clock import Clock
from propbot.domain.mode import CancelResult, Cause, GateState, HoldExit, HoldRecord, Mode
from propbot.kit.level import Level
from propbot.kit.switch import Switch
from propbot.kit.trace import Trace

CAUSES_KEPT_MAX = 50


class ResumeRefused(Exception):
    """Leaving HOLD is not possible now; `reasons` say what has to be mended first."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = tuple(reasons)


@frozen
class ModeRules:
    hold_exit: HoldExit
    hedge_deadline_s: float


@frozen
class ModeView:
    """Everything about the mode at one moment; what is persisted and shown."""

    mode: Mode
    safe_mode: bool
    dry_run_only: bool
    hold: HoldRecord | None = None
    before: Mode = Mode.RUN
    """The mode that the HOLD ended; a restart after a plain stop goes on with it."""


@define(eq=False)
class ModeKeeper:
    """The one writer of the mode. `level` tells everyone else."""

    level: Level[ModeView]
    switch: Switch
    rules: ModeRules
    clock: Clock
    trace: Trace
    blockers: Callable[[Mode], Sequence[str]] = field(default=lambda mode: ())
    """Why HOLD can't be left for that mode now: guards whose trip has not cleared, a wind-down that still runs, a dead
    task."""
    on_leave: Callable[[Mode], None] = field(default=lambda mode: None)
    """Called in the step that leaves HOLD, with the mode that follows; must not wait."""
    on_enter: Callable[[], None] = field(default=lambda: None)
    """Called in the step that enters HOLD; must not fail and must not wait."""
    episode: int = field(init=False)
    """Counts the HOLDs of this life, so that each gets its wind-down."""
    holds: int = field(init=False, default=0)
    """Counts the calls for a HOLD, also those in one: whatever was proposed before is void (the Two-Man Rule)."""
    safeties: int = field(init=False, default=0)
    """Counts how often safe_mode or dry_run_only was set where it had not been; it voids proposals, too."""
    _entered_mono_s: float | None = None
    _winddown_exempt: bool = False
    _ready: bool = False

    def __attrs_post_init__(self) -> None:
        self.episode = 1 if self.view.mode is Mode.HOLD else 0

    @property
    def view(self) -> ModeView:
        return self.level.value

    @property
    def ready(self) -> bool:
        """The start's reconciliation is through; RUN and DRAIN may send orders."""
        return self._ready

    def hold(self, reason: str, source: str, *, winddown_exempt: bool = False) -> None:
        """Enter HOLD, or add a cause to it. Synchronous; cannot fail; cannot be prevented."""
        self.holds += 1
        view = self.view
        cause = Cause(reason, source, self.clock.wall_ns())
        # a flag that was set before this request goes on to forbid every order
        exempt = winddown_exempt and not (view.safe_mode or view.dry_run_only)
        if view.hold is not None and view.mode is Mode.HOLD:
            self.switch.trip()
            self._winddown_exempt = self._winddown_exempt or exempt
            known = [(c.reason, c.source) for c in view.hold.causes]
            if (reason, source) not in known and len(known) < CAUSES_KEPT_MAX:
                self.level.value = evolve(view, hold=evolve(view.hold, causes=(*view.hold.causes, cause)))
                self.trace("hold_cause", source=source, reason=reason)
            return
        self.switch.trip()
        self._entered_mono_s = self.clock.mono_s()
        self._winddown_exempt = exempt
        self.episode += 1
        self.on_enter()
        self.level.value = evolve(view, mode=Mode.HOLD, hold=HoldRecord((cause,)), before=view.mode)
        self.trace("mode", mode="HOLD", source=source, reason=reason)

    def resume(self, operator: str, mode: Mode = Mode.RUN, seconded: Seconded | None = None) -> None:
        """An operator leaves HOLD (to RUN or DRAIN), or changes between RUN and DRAIN; under the Two-Man Rule what
        `operator` proposed was `seconded`."""
        assert mode is not Mode.HOLD
        if self.view.mode is mode:
            return
        reasons = self.resume_problems(mode)
        if reasons:
            raise ResumeRefused(reasons)
        people = {} if seconded is None else {
            "proposer": operator, "approver": seconded.by, "approval": seconded.id
        }
        self.trace("resume", operator=operator, mode=str(mode), **people)
        if self.view.mode is Mode.HOLD:
            self.on_leave(mode)
        self._leave_hold(mode, f"operator:{operator}")

    def resume_problems(self, mode: Mode) -> Sequence[str]:
        """Why `mode` can't be taken up now; empty when it can."""
        if self.view.mode is mode or (mode is Mode.DRAIN and self.view.mode is Mode.RUN):
            return ()  # DRAIN from RUN tightens, and is always allowed
        reasons = list(self.blockers(mode))
        if not self._ready:
            reasons.append("the start's reconciliation has not agreed yet; see component recon")
        return reasons

    def set_flags(self, *, safe_mode: bool | None = None, dry_run_only: bool | None = None) -> None:
        view = self.view
        changed = evolve(
            view,
            safe_mode=view.safe_mode if safe_mode is None else safe_mode,
            dry_run_only=view.dry_run_only if dry_run_only is None else dry_run_only,
        )
        if (changed.safe_mode and not view.safe_mode) or (changed.dry_run_only and not view.dry_run_only):
            self.safeties += 1
        if changed != view:
            self.level.value = changed
            self.trace("flags", safe_mode=changed.safe_mode, dry_run_only=changed.dry_run_only)

    def note_cancel(self, result: CancelResult) -> None:
        """What the venues say was left after the cancels of this HOLD."""
        if self.view.hold is not None:
            self.level.value = evolve(self.view, hold=evolve(self.view.hold, cancel=result))

    def let_trade(self) -> None:
        """The start's reconciliation agrees: orders may be sent as far as the mode allows."""
        self._ready = True
        if self.view.mode is not Mode.HOLD:
            self.switch.arm()

    def gate_state(self) -> GateState:
        view = self.view
        age_s = None if self._entered_mono_s is None else self.clock.mono_s() - self._entered_mono_s
        return GateState(
            mode=view.mode,
            halted=self.switch.halted,
            safe_mode=view.safe_mode,
            dry_run_only=view.dry_run_only,
            hold_exit=self.rules.hold_exit,
            hold_age_s=age_s,
            hedge_deadline_s=self.rules.hedge_deadline_s,
            winddown_exempt=self._winddown_exempt,
        )

    def _leave_hold(self, mode: Mode, source: str) -> None:
        self._entered_mono_s = None
        self._winddown_exempt = False
        self.level.value = evolve(self.view, mode=mode, hold=None)
        self.trace("mode", mode=str(mode), source=source, reason="")
        if self._ready:
            self.switch.arm()


def choose_start(
    *, configured: Mode, paper: bool, safe_mode: bool, dry_run_only: bool, stored: ModeView | None, now_ns: int
) -> ModeView:
    """The mode to start in (DESIGN section 2): configuration never leaves a HOLD, the stricter flag wins."""
    safe_mode = safe_mode or (stored is not None and stored.safe_mode)
    dry_run_only = dry_run_only or (stored is not None and stored.dry_run_only)

    def held(causes: tuple[Cause, ...]) -> ModeView:
        return ModeView(Mode.HOLD, safe_mode, dry_run_only, HoldRecord(causes))

    startup = Cause("started in HOLD; an operator resumes", "startup", now_ns)
    if stored is not None and stored.mode is Mode.HOLD and stored.hold is not None:
        harmless = all(
            cause.source in ("startup", "shutdown") and not cause.lasting for cause in stored.hold.causes
        )
        if not (paper and harmless):
            return held(stored.hold.causes)
    if not paper:
        return held((startup,))
    if configured is Mode.HOLD:  # stricter than a drain that was under way
        return held((startup,))
    if stored is not None and Mode.DRAIN in (stored.mode, stored.before if stored.mode is Mode.HOLD else None):
        return ModeView(Mode.DRAIN, safe_mode, dry_run_only)
    return ModeView(configured, safe_mode, dry_run_only)
