"""What an operator changes: whether it is allowed now, who else has to approve it; in force first, then durable.

    asked ─ allowed in this state? ─ preflight, where HOLD is left ─┬─ in force ─ durable ─ answered
               │ no: 403, 422           │ no: 409                  └─ a second person is needed: proposed; what they
                                                                      approve is checked anew, and then in force

`desk.py` hands these to API and Telegram. Nothing is in force by halves: no checkpoint lies between the step out of
HOLD and the parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import trio
from attrs import define, evolve

from propbot.control.baseline import accept_baseline, baseline_problems
from propbot.control.keeper import StateKeeper
from propbot.control.looking import view_control
from propbot.control.modes import ResumeRefused
from propbot.control.parameters import PARAMETERS
from propbot.control.two_man import change_of, needs_second_person, patch_of
from propbot.domain.approvals import Seconded
from propbot.domain.errors import LedgerError
from propbot.domain.instruments import VenueId
from propbot.domain.mode import Mode, Profile
from propbot.domain.money import amount_text
from propbot.domain.status import Incident
from propbot.service import DrainAsked, Service
from propbot.status.desk import (
    BaselineMoved,
    BaselineOutcome,
    Change,
    Conflict,
    ControlOutcome,
    ControlPatch,
    Done,
    Forbidden,
    LotsWord,
    Pending,
    Unusable,
)

DURABLE_WAIT_S = 1.0
"""How long an answer waits for the disk; a HOLD is in force whether it answers or not."""
BASELINE = "baseline"
"""The name under which a baseline's move is proposed; no parameter of PATCH has it."""


@define(eq=False)
class Changes:
    """One service's changes. What a second person approves comes back as `approvals.Applier`."""

    service: Service
    keeper: StateKeeper

    async def apply_control(self, patch: ControlPatch, operator: str) -> ControlOutcome:
        patch = evolve(patch, reason=self._clean(patch.reason))
        refusal = self._refusal(patch)
        if refusal is not None:
            return refusal
        two_man_rule = self.service.config.settings.start.two_man_rule
        if two_man_rule and needs_second_person(patch, self.service.modes.view):
            if patch.mode is Mode.HOLD:  # in force already; durable before the answer, as ever
                await self._is_durable()
            return await self._propose(change_of(patch), operator)
        return await self._apply(patch, operator)

    async def accept_baseline(
        self, venue: VenueId, asset: str, reason: str, operator: str, lots: LotsWord | None = None
    ) -> BaselineOutcome:
        reason = self._clean(reason)
        if not self.service.config.settings.start.two_man_rule:
            return await accept_baseline(self.service, venue, asset, reason, operator, lots)
        asked = {"venue": str(venue), "asset": asset, "reason": reason}
        return await self._propose({BASELINE: asked if lots is None else {**asked, "lots": lots}}, operator)

    async def acknowledge_incident(self, id: int, operator: str, note: str) -> Incident | None:
        """Durable when it returns; LedgerError if the disk does not answer (it counts in memory all the same)."""
        incident = self.service.incidents.acknowledge(id, operator, self._clean(note))
        if incident is None:
            return None
        with trio.move_on_after(DURABLE_WAIT_S) as scope:
            await self.service.incidents.wait_saved(id)
        if scope.cancelled_caught:
            raise LedgerError(f"incident {id} is acknowledged, but not durable after {DURABLE_WAIT_S:g} s")
        return self.service.incidents.get(id)

    # --- what another person approves

    async def _propose(self, change: Mapping[str, Any], operator: str) -> Pending | Conflict:
        """What another person has to approve; what could not take effect now is not worth their while."""
        problems = await self.problems(change)
        if problems:
            return Conflict(problems)
        proposed = await self.service.approvals.propose(change, operator)
        return proposed if isinstance(proposed, Conflict) else Pending(proposed)

    async def problems(self, change: Mapping[str, Any]) -> Sequence[str]:
        """Why an approved `change` could not take effect now (`approvals.Applier`)."""
        if BASELINE in change:
            asked = change[BASELINE]
            return baseline_problems(self.service, VenueId(asked["venue"]), asked["asset"], asked.get("lots"))
        patch = patch_of(change)
        refusal = self._refusal(patch)
        if refusal is not None:
            return [_words(refusal)]
        if patch.mode is None:
            return []
        came_in = await self._preflight(patch.mode)
        return self.service.modes.resume_problems(patch.mode) if came_in is None else came_in.reasons

    async def apply(self, change: Mapping[str, Any], proposer: str, seconded: Seconded) -> Done | Conflict:
        """A change that another person has approved (`approvals.Applier`)."""
        if BASELINE in change:
            return await self._apply_baseline(change[BASELINE], proposer)
        patch = patch_of(change)
        refusal = self._refusal(patch)
        if refusal is not None:
            return Conflict([_words(refusal)])
        return await self._apply(patch, proposer, seconded)

    async def _apply_baseline(self, asked: Mapping[str, Any], operator: str) -> Done | Conflict:
        """Approved by another person."""
        venue, asset = VenueId(asked["venue"]), asked["asset"]
        outcome = await accept_baseline(
            self.service, venue, asset, asked["reason"], operator, asked.get("lots")
        )
        match outcome:
            case BaselineMoved(old=old, new=new):
                return Done({f"baseline {venue} {asset}": Change(amount_text(old), amount_text(new))})
            case Conflict():
                return outcome
            case Unusable(fields=fields):
                return Conflict([f"{name}: {why}" for name, why in fields.items()])
            case Pending():
                raise AssertionError("one approval asks for no other")

    # --- one step after the other

    async def _apply(self, patch: ControlPatch, operator: str, seconded: Seconded | None = None) -> Done | Conflict:
        before = self._in_force()
        if patch.mode is Mode.DRAIN:
            timeout_s = patch.drain_timeout_sec or self.service.drain_timeout_s
            self.service.drain_asked = DrainAsked(operator, timeout_s)
        if patch.mode in (Mode.RUN, Mode.DRAIN):
            # an approved change had its preflight before the approval was spent: no checkpoint from there to here
            came_in = None if seconded is not None else await self._preflight(patch.mode)
            if came_in is not None:
                return came_in
            try:
                self.service.modes.resume(operator, patch.mode, seconded)
            except ResumeRefused as refused:
                return Conflict(refused.reasons)
            if before["mode"] == str(Mode.HOLD):
                self.service.note_resumed(operator)
        self.service.modes.set_flags(safe_mode=patch.safe_mode, dry_run_only=patch.dry_run_only)
        self._set_parameters(patch)
        self.service.approvals.look()  # what was proposed under other parameters is void
        self.service.pipeline.wake()
        after = self._in_force()
        changes = {name: Change(before[name], after[name]) for name in before if before[name] != after[name]}
        people = {} if seconded is None else {"approved_by": seconded.by, "approval": seconded.id}
        for name, change in changes.items():
            moved = f"{name}: {_said(change.old)} -> {_said(change.new)}"
            self.service.journal.say("INFO", "control", moved, source=f"operator:{operator}", **people)
        warnings = self._warnings()
        if not await self._is_durable():
            late = f"in force, but not durable after {DURABLE_WAIT_S:g} s: the disk does not answer"
            if changes:
                raise LedgerError(late)
            warnings.append(late)  # a HOLD that was entered before: it holds whatever the disk does
        elif not await self._is_journalled():
            warnings.append("in force and kept, but not yet in the journal: the ledger does not answer")
        return Done(changes, warnings)

    async def _preflight(self, mode: Mode) -> Conflict | None:
        """Before HOLD is left, and only if nothing else stands in the way: no venue is asked in vain. What fails is a
        blocker by its guard; a HOLD that is asked for meanwhile wins."""
        modes = self.service.modes
        if modes.view.mode is not Mode.HOLD:
            return None
        others = [reason for reason in modes.resume_problems(mode) if not reason.startswith("guard:preflight ")]
        if others:
            return Conflict(modes.resume_problems(mode))
        asked = modes.holds
        result = await self.service.run_preflight("resume")
        if result.ok and modes.holds != asked:
            return Conflict(["a HOLD was asked for while the preflight ran: look at its reason and resume again"])
        return None

    def _refusal(self, patch: ControlPatch) -> Forbidden | Unusable | None:
        service = self.service
        fields: dict[str, str] = {}
        if patch.loop_pair is not None and patch.loop_pair != service.pair:
            fields["loop_pair"] = f"this version trades the pair it was started with, {service.pair}: restart to change"
        strangers = [venue for venue in patch.loop_venues or () if venue not in service.venues]
        if strangers:
            started = f"this service was started with {', '.join(service.venues)}"
            fields["loop_venues"] = f"{started}: restart with LOOP_VENUES to trade on {', '.join(strangers)}"
        if fields:
            return Unusable(fields)
        view, profile = service.modes.view, service.config.settings.profile
        changing = [name for name in PARAMETERS if getattr(patch, name) is not None]
        if patch.mode is Mode.DRAIN and "drain_timeout_sec" in changing:
            changing.remove("drain_timeout_sec")  # part of the order to drain
        if patch.dry_run_only is False and view.dry_run_only:
            changing.append("dry_run_only")
        shown_safe = view.safe_mode or view.mode is Mode.HOLD or patch.safe_mode is True
        if changing and (profile is Profile.LIVE or not shown_safe):
            where = "not with PROFILE=live" if profile is Profile.LIVE else "first set safe_mode or mode HOLD"
            return Forbidden(f"{', '.join(changing)}: {where}")
        return None

    def _set_parameters(self, patch: ControlPatch) -> None:
        pipeline = self.service.pipeline
        rules = pipeline.rules
        wanted = patch.loop_venues
        if wanted is not None:  # in the order of the start, so that another order is no change
            patch = evolve(patch, loop_venues=tuple(venue for venue in self.service.venues if venue in wanted))
        pipeline.rules = evolve(
            rules,
            order_notional=rules.order_notional if patch.order_notional_usdt is None else patch.order_notional_usdt,
            min_spread_bps=rules.min_spread_bps if patch.min_spread_bps is None else patch.min_spread_bps,
            max_slippage_bps=rules.max_slippage_bps if patch.max_slippage_bps is None else patch.max_slippage_bps,
            poll_interval_s=rules.poll_interval_s if patch.poll_interval_sec is None else patch.poll_interval_sec,
            loop_venues=rules.loop_venues if patch.loop_venues is None else patch.loop_venues,
        )
        pipeline.limits = evolve(pipeline.limits, order_notional=pipeline.rules.order_notional)
        pipeline.wake()
        if patch.drain_timeout_sec is not None and patch.mode is not Mode.DRAIN:
            self.service.drain_timeout_s = patch.drain_timeout_sec
        asked = {name: value for name in PARAMETERS if (value := getattr(patch, name)) is not None}
        if patch.mode is Mode.DRAIN:
            asked.pop("drain_timeout_sec", None)  # of this drain alone
        if asked:
            self.service.parameters = self.service.parameters.patch(asked)
            self.service.modes.level.touch()  # wakes who keeps them

    def _in_force(self) -> dict[str, object]:
        view, control = self.service.modes.view, view_control(self.service)
        values: dict[str, object] = {
            "mode": str(view.mode), "safe_mode": view.safe_mode, "dry_run_only": view.dry_run_only,
        }
        return values | {name: getattr(control, name) for name in PARAMETERS}

    async def _is_durable(self) -> bool:
        """Waits for the disk, but not for ever."""
        service = self.service
        with trio.move_on_after(DURABLE_WAIT_S) as scope:
            await self.keeper.wait_saved(lambda: service.modes.view, lambda: service.parameters)
        return not scope.cancelled_caught

    async def _is_journalled(self) -> bool:
        with trio.move_on_after(DURABLE_WAIT_S / 2) as scope:
            await self.service.journal.wait_written()
        return not scope.cancelled_caught

    def _warnings(self) -> list[str]:
        """What should be said with the answer."""
        pipeline = self.service.pipeline
        return [problem for problem in (pipeline.too_few_venues(), pipeline.size_problem()) if problem is not None]

    def _clean(self, text: str) -> str:
        return self.service.seams.redactor.clean(text)


def _said(value: object) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _words(refusal: Forbidden | Unusable) -> str:
    if isinstance(refusal, Forbidden):
        return refusal.message
    return "; ".join(f"{name}: {why}" for name, why in refusal.fields.items())
