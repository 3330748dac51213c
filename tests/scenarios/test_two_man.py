"""The Two-Man Rule over the whole service: leaving HOLD and clearing a safety take two people, and once only."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from propbot.api import models
from propbot.api.app import make_api
from propbot.api.auth import Auth
from propbot.control.desk import ServiceDesk
from propbot.domain.events import first_bad
from propbot.domain.mode import Mode
from propbot.service import Service
from propbot.simulate.truth import assert_invariants
from propbot.simulate.world import Killed, World, open_world

ROLES = {"vic": "viewer", "ann": "operator", "bob": "approver", "cy": "admin", "dee": "approver"}
CONTROL = "/api/ui/control"
APPROVALS = "/api/ui/approvals"


def write_people(path: Path, **roles: str) -> None:
    entries = [
        {"name": name, "role": role, "token_sha256": sha256(f"token of {name}".encode()).hexdigest()}
        for name, role in roles.items()
    ]
    path.write_text(json.dumps(entries))


class Callers:
    """The API of the bot's present life, asked as one of the people."""

    def __init__(self, bot: Service) -> None:
        self.bot = bot
        app = make_api(ServiceDesk(bot, bot.keeper), auth=Auth(bot.people))
        self._client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://propbot")

    async def ask(self, who: str, method: str, path: str, body: Any = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer token of {who}"}
        return await self._client.request(method, path, json=body, headers=headers)

    async def patch(self, who: str, **change: Any) -> httpx.Response:
        return await self.ask(who, "PATCH", CONTROL, change)

    async def propose(self, who: str = "ann", **change: Any) -> str:
        answer = await self.patch(who, **(change or {"mode": "RUN"}))
        assert answer.status_code == 202, answer.text
        models.PendingAnswer.model_validate(answer.json())
        id: str = answer.json()["approval"]["id"]
        return id

    async def approve(self, who: str, id: str) -> httpx.Response:
        return await self.ask(who, "POST", f"{APPROVALS}/{id}/approve")

    async def reject(self, who: str, id: str, **body: Any) -> httpx.Response:
        return await self.ask(who, "POST", f"{APPROVALS}/{id}/reject", body)

    async def state_of(self, id: str) -> tuple[str, str]:
        items = (await self.ask("vic", "GET", APPROVALS)).json()["items"]
        (item,) = [each for each in items if each["id"] == id]
        return item["state"], item["reason"]

    async def hold(self, who: str = "ann") -> None:
        """HOLD, and wait until this HOLD could be left again."""
        assert (await self.patch(who, mode="HOLD")).status_code == 200
        await self.quiet()

    async def quiet(self) -> None:
        with trio.fail_after(30):
            while self.bot.modes.resume_problems(Mode.RUN):
                await trio.sleep(0.1)


@asynccontextmanager
async def held_world(tmp_path: Path, **given: str) -> AsyncIterator[tuple[World, Callers]]:
    """A bot under the Two-Man Rule that was started in HOLD and could trade."""
    path = tmp_path / "operators.json"
    write_people(path, **ROLES)
    settings = {"TWO_MAN_RULE": "true", "OPERATORS_FILE": str(path), "MODE": "HOLD", **given}
    async with open_world(tmp_path, **settings) as world:
        callers = Callers(await world.start_bot())
        await trio.sleep(10)
        await callers.quiet()
        yield world, callers


def resumes(world: World) -> list[dict[str, Any]]:
    return world.of_kind("resume")


async def test_two_people_leave_hold_and_the_trail_names_both(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with held_world(tmp_path) as (world, callers):
        id = await callers.propose("ann", mode="RUN")
        assert callers.bot.modes.view.mode is Mode.HOLD
        shown = (await callers.ask("vic", "GET", "/api/ui/control-state")).json()
        models.Control.model_validate(shown)
        assert [(each["id"], each["proposer"], each["change"]) for each in shown["approvals"]] == [
            (id, "ann", {"mode": "RUN"})
        ]
        await trio.sleep(1.5)
        component = callers.bot.board.component("approvals")
        assert component is not None
        assert (component.status, component.summary) == ("WARN", f"waits for another person: {id} (mode=RUN) of ann")
        answer = await callers.approve("bob", id)
        assert answer.status_code == 200, answer.text
        models.ApprovedAnswer.model_validate(answer.json())
        assert answer.json()["changes"]["mode"] == {"old": "HOLD", "new": "RUN"}
        assert answer.json()["approval"]["decided_by"] == "bob"
        assert callers.bot.modes.view.mode is Mode.RUN
        await trio.sleep(30)
        assert world.of_kind("intent_committed"), "it trades"
        (resume,) = resumes(world)
        assert (resume["proposer"], resume["approver"], resume["approval"]) == ("ann", "bob", id)
        steps = [row for row in world.of_kind("approval") if row["id"] == id]
        assert [(row["state"], row["by"]) for row in steps] == [("PENDING", ""), ("APPROVED", "bob")]
        assert len({row["digest"] for row in steps}) == 1
        assert steps[1]["t"] < steps[1]["expires_t"] == pytest.approx(steps[0]["t"] + 300)
        events, _ = await callers.bot.ledger.events_page(1000)
        said = [each.message for each in reversed(events) if each.kind == "approval"]
        steps_said = [f"approval {id} (mode=RUN) of ann: {step}" for step in ("PENDING", "APPROVED by bob")]
        assert said == [*steps_said, f"approval {id} took effect"]
        assert first_bad(reversed(events)) is None
        component = callers.bot.board.component("approvals")
        assert component is not None
        assert component.status == "OK"
        await world.stop_bot()
        assert_invariants(world)


@pytest.mark.parametrize("mode", ["RUN", "DRAIN"])
async def test_one_person_does_not_leave_hold(tmp_path: Path, mode: str, autojump_clock: MockClock) -> None:
    async with held_world(tmp_path) as (world, callers):
        id = await callers.propose("cy", mode=mode)
        answer = await callers.approve("cy", id)
        assert answer.status_code == 403
        assert "needs another person: cy proposed it" in answer.json()["error"]["message"]
        assert (await callers.state_of(id))[0] == "PENDING"
        again = await callers.propose("cy", mode=mode)
        assert again == id, "the same proposal of the same person is the same one"
        assert await callers.propose("bob", mode=mode) != id
        assert resumes(world) == []


async def test_fifty_approvals_by_two_people_give_exactly_one_resume(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with held_world(tmp_path) as (world, callers):
        id = await callers.propose()
        codes: list[int] = []

        async def approve(who: str) -> None:
            codes.append((await callers.approve(who, id)).status_code)

        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(approve, ("bob", "cy")[number % 2])
        assert sorted(codes) == [200] + [409] * 49
        assert len(resumes(world)) == 1
        assert len([row for row in world.of_kind("approval") if row["state"] == "APPROVED"]) == 1


async def test_fifty_approvals_of_fifty_proposals_by_many_people_give_exactly_one_resume(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    many = {f"p{number}": "admin" for number in range(50)}
    async with held_world(tmp_path) as (world, callers):
        write_people(tmp_path / "operators.json", **ROLES, **many)
        await trio.sleep(2)
        ids = {who: await callers.propose(who) for who in many}
        assert len(set(ids.values())) == 50
        codes: list[int] = []

        async def approve(who: str, id: str) -> None:
            codes.append((await callers.approve(who, id)).status_code)

        async with trio.open_nursery() as nursery:
            for number, who in enumerate(many):
                nursery.start_soon(approve, who, ids[f"p{(number + 1) % 50}"])
        assert sorted(codes) == [200] + [409] * 49
        assert len(resumes(world)) == 1


async def test_an_approval_works_once_and_never_again(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with held_world(tmp_path) as (world, callers):
        id = await callers.propose()
        assert (await callers.approve("bob", id)).status_code == 200
        await callers.hold("bob")
        for who in ("bob", "cy", "ann"):
            answer = await callers.approve(who, id)
            assert answer.status_code == (403 if who == "ann" else 409), "ann's role does not allow it at all"
        assert "is APPROVED by bob" in (await callers.approve("cy", id)).json()["error"]["message"]
        assert (await callers.reject("cy", id)).status_code == 409
        assert callers.bot.modes.view.mode is Mode.HOLD
        assert len(resumes(world)) == 1


@pytest.mark.parametrize(("early_s", "code"), [(0.001, 200), (0.0, 409), (-0.001, 409)])
async def test_a_proposal_is_good_for_five_minutes_to_the_millisecond(
    tmp_path: Path, early_s: float, code: int, autojump_clock: MockClock
) -> None:
    async with held_world(tmp_path) as (world, callers):
        id = await callers.propose()
        (proposed,) = world.of_kind("approval")
        await trio.sleep_until(proposed["expires_t"] - early_s)
        answer = await callers.approve("bob", id)
        assert answer.status_code == code, answer.text
        assert (await callers.state_of(id))[0] == ("APPROVED" if code == 200 else "EXPIRED")
        assert len(resumes(world)) == (code == 200)


async def test_a_wall_clock_that_steps_back_keeps_no_proposal_alive(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with held_world(tmp_path) as (world, callers):
        id = await callers.propose()
        world.clock.step_ns(-3_600_000_000_000)
        await trio.sleep(301)
        assert (await callers.approve("bob", id)).status_code == 409
        assert resumes(world) == []


async def test_any_hold_in_between_voids_what_waits(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with held_world(tmp_path) as (world, callers):
        for hold_again in (
            lambda: callers.patch("ann", mode="HOLD", reason="one more"),
            lambda: callers.patch("ann", mode="HOLD", reason="one more"),  # the same words: no new cause, but a HOLD
        ):
            id = await callers.propose()
            await hold_again()
            assert callers.bot.approvals.pending() == []
            answer = await callers.approve("bob", id)
            assert answer.status_code == 409
            assert "a HOLD came in between" in answer.json()["error"]["message"]
            assert (await callers.state_of(id)) == ("VOID", "a HOLD came in between")
            await trio.sleep(2)
            row = await callers.bot.ledger.approval(id)
            assert row is not None
            assert (row.state, row.reason) == ("VOID", "a HOLD came in between"), "it is written down too"
        id = await callers.propose()
        callers.bot.trip("net exposure 0.01 BTC for longer than 5 s", "guard:hedge")
        assert (await callers.approve("bob", id)).status_code == 409
        assert resumes(world) == []


async def test_a_hold_while_the_approval_is_written_spends_it_without_effect(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with held_world(tmp_path) as (world, callers):
        id = await callers.propose()
        ledger = callers.bot.ledger
        decide = ledger.decide_approval

        async def decide_and_be_overtaken(decided: Any) -> bool:
            first = await decide(decided)
            callers.bot.modes.hold("binance-um BTCUSDT ledger 0.012, venue 0.010", "guard:recon")
            return first

        ledger.decide_approval = decide_and_be_overtaken  # type: ignore[method-assign]
        answer = await callers.approve("bob", id)
        ledger.decide_approval = decide  # type: ignore[method-assign]
        assert answer.status_code == 409
        assert "the approval is spent, propose again" in answer.json()["error"]["message"]
        await trio.sleep(2)
        assert (await callers.state_of(id)) == (
            "VOID", "approved by bob and spent without effect: a HOLD came in between"
        )
        assert callers.bot.modes.view.mode is Mode.HOLD
        assert resumes(world) == []


@pytest.mark.parametrize(
    "change",
    [
        {"order_notional_usdt": 900}, {"max_slippage_bps": 3}, {"min_spread_bps": 2}, {"drain_timeout_sec": 9},
        {"loop_venues": ["binance-um"]},
    ],
)
async def test_a_changed_parameter_voids_what_waits_even_if_it_is_changed_back(
    tmp_path: Path, change: dict[str, Any], autojump_clock: MockClock
) -> None:
    async with held_world(tmp_path) as (world, callers):
        before = (await callers.ask("vic", "GET", "/api/ui/control-state")).json()
        id = await callers.propose()
        assert (await callers.patch("bob", **change)).status_code == 200
        (name,) = change
        assert (await callers.patch("bob", **{name: before[name]})).status_code == 200
        answer = await callers.approve("bob", id)
        assert answer.status_code == 409
        assert (await callers.state_of(id)) == ("VOID", "limits or parameters changed in between")
        assert resumes(world) == []


@pytest.mark.parametrize("flag", ["safe_mode", "dry_run_only"])
async def test_a_safety_that_is_set_in_between_is_not_cleared_by_what_was_proposed_before(
    tmp_path: Path, flag: str, autojump_clock: MockClock
) -> None:
    """Its proposer asked for a clear flag, when it was clear; who set it since has a reason."""
    async with held_world(tmp_path) as (world, callers):
        id = await callers.propose("ann", mode="RUN", **{flag: False})
        assert (await callers.patch("cy", **{flag: True})).status_code == 200
        assert (await callers.approve("bob", id)).status_code == 409
        assert (await callers.state_of(id)) == ("VOID", "safe_mode or dry_run_only was set in between")
        assert getattr(callers.bot.modes.view, flag) is True
        assert resumes(world) == []


async def test_a_guard_that_has_not_cleared_refuses_and_the_proposal_waits_on(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with held_world(tmp_path) as (world, callers):
        id = await callers.propose()
        callers.bot.watches["recon"].tripped = "binance-um BTCUSDT differs"
        callers.bot.modes.blockers = lambda mode: ["guard:recon has not cleared"]
        answer = await callers.approve("bob", id)
        assert (answer.status_code, answer.json()["reasons"]) == (409, ["guard:recon has not cleared"])
        assert (await callers.patch("cy", mode="RUN")).status_code == 409, "nor is anything new proposed"
        assert (await callers.state_of(id))[0] == "PENDING"
        callers.bot.modes.blockers = lambda mode: ()
        assert (await callers.approve("bob", id)).status_code == 200
        assert len(resumes(world)) == 1


async def test_who_may_not_decide_is_refused_and_the_journal_lists_the_attempts(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with held_world(tmp_path) as (world, callers):
        id = await callers.propose("bob")
        codes = {
            who: (await callers.approve(who, id)).status_code for who in ("vic", "ann", "bob", "nobody")
        }
        assert codes == {"vic": 403, "ann": 403, "bob": 403, "nobody": 401}
        assert (await callers.reject("ann", id)).status_code == 403
        assert (await callers.patch("vic", mode="HOLD")).status_code == 403
        for unknown in ("zzzzzzzz", "a" * 500, "..%2F..", "%00", "%ED%A0%80", "'"):
            assert (await callers.approve("bob", unknown)).status_code == 404, unknown
        await trio.sleep(1)
        events, _ = await callers.bot.ledger.events_page(1000)
        said = [(each.kind, each.source, each.message) for each in events if each.level == "WARN"]
        path = f"POST {APPROVALS}/{id}/approve"
        assert ("access", "operator:vic", f"vic tried {path}, which their role does not allow") in said
        assert ("access", "operator:ann", f"ann tried {path}, which their role does not allow") in said
        assert ("approval", "operator:bob", f"bob tried to approve {id}, which bob proposed") in said
        assert resumes(world) == []


async def test_a_rejected_proposal_is_over_with_its_reason(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with held_world(tmp_path) as (_, callers):
        id = await callers.propose()
        answer = await callers.reject("bob", id, reason="not before noon")
        assert answer.status_code == 200
        models.RejectedAnswer.model_validate(answer.json())
        assert (await callers.state_of(id)) == ("REJECTED", "not before noon")
        assert (await callers.approve("cy", id)).status_code == 409
        own = await callers.propose("cy")
        assert (await callers.reject("cy", own)).status_code == 200, "one may withdraw what one proposed"


@pytest.mark.parametrize("flag", ["safe_mode", "dry_run_only"])
async def test_setting_a_safety_takes_one_person_and_clearing_it_two(
    tmp_path: Path, flag: str, autojump_clock: MockClock
) -> None:
    async with held_world(tmp_path) as (_, callers):
        assert (await callers.patch("ann", **{flag: True})).status_code == 200
        assert (await callers.patch("ann", **{flag: True})).status_code == 200
        id = await callers.propose("ann", **{flag: False})
        assert getattr(callers.bot.modes.view, flag) is True
        assert (await callers.approve("dee", id)).status_code == 200
        assert getattr(callers.bot.modes.view, flag) is False
        assert (await callers.patch("ann", **{flag: False})).status_code == 200, "it is clear already"


async def test_hold_and_drain_from_run_take_one_person(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with held_world(tmp_path) as (_, callers):
        await callers.approve("bob", await callers.propose())
        assert (await callers.patch("ann", mode="DRAIN")).status_code == 200
        assert (await callers.patch("ann", mode="HOLD")).status_code == 200
        assert callers.bot.modes.view.mode is Mode.HOLD


async def test_one_change_of_several_parts_is_approved_as_a_whole(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with held_world(tmp_path) as (world, callers):
        id = await callers.propose("ann", mode="RUN", safe_mode=True, order_notional_usdt=250.5, reason="small steps")
        assert callers.bot.pipeline.rules.order_notional == 1000
        answer = await callers.approve("bob", id)
        assert answer.json()["approval"]["change"] == {
            "mode": "RUN", "order_notional_usdt": "250.5", "reason": "small steps", "safe_mode": True,
        }
        assert float(callers.bot.pipeline.rules.order_notional) == 250.5
        assert callers.bot.modes.view.safe_mode is True
        assert len(resumes(world)) == 1


async def test_nobody_floods_the_list(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with held_world(tmp_path) as (_, callers):
        for number in range(5):
            await callers.propose("ann", mode="RUN", order_notional_usdt=100 + number)
        answer = await callers.patch("ann", mode="RUN", order_notional_usdt=200)
        assert answer.status_code == 409
        assert "5 proposals of ann wait already" in answer.json()["error"]["message"]
        await callers.propose("cy")


async def test_the_rule_can_not_be_switched_off_over_the_api(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with held_world(tmp_path) as (_, callers):
        for name in ("two_man_rule", "TWO_MAN_RULE"):
            assert (await callers.patch("cy", **{name: False})).status_code == 422
        assert (await callers.ask("vic", "GET", "/api/ui/state")).json()["flags"]["TWO_MAN_RULE"] is True


async def test_a_person_taken_off_the_list_proposes_and_approves_nothing_any_more(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with held_world(tmp_path) as (world, callers):
        of_ann, of_cy = await callers.propose("ann"), await callers.propose("cy")
        left = {name: role for name, role in ROLES.items() if name not in ("ann", "bob")}
        write_people(tmp_path / "operators.json", **left)
        await trio.sleep(1.9)
        assert (await callers.approve("bob", of_cy)).status_code == 401
        assert (await callers.patch("ann", mode="HOLD")).status_code == 401
        assert (await callers.approve("dee", of_ann)).status_code == 409
        assert (await callers.state_of(of_ann)) == ("VOID", "ann may no longer propose")
        assert (await callers.approve("dee", of_cy)).status_code == 200
        assert len(resumes(world)) == 1


async def test_who_is_taken_off_the_list_while_the_checks_are_made_approves_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with held_world(tmp_path) as (world, callers):
        id, people = await callers.propose("ann"), callers.bot.people

        def take_bob_off(mode: Mode) -> list[str]:
            people.replace([each for each in people.listed if each.name != "bob"])
            return []

        callers.bot.modes.blockers = take_bob_off
        answer = await callers.approve("bob", id)
        assert answer.status_code == 403
        assert (await callers.state_of(id))[0] == "PENDING"
        assert resumes(world) == []
        assert (await callers.approve("cy", id)).status_code == 200


async def test_a_list_with_one_approver_left_is_in_force_and_a_warning(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with held_world(tmp_path) as (_, callers):
        write_people(tmp_path / "operators.json", ann="operator", bob="approver")
        await trio.sleep(1.9)
        component = callers.bot.board.component("operators")
        assert component is not None
        assert component.status == "WARN"
        assert "the Two-Man Rule needs two" in component.summary
        assert (await callers.approve("bob", await callers.propose("ann"))).status_code == 200, "ann may still propose"


@pytest.mark.parametrize("point", ["approval-commit:before", "approval-commit:after"])
async def test_a_kill_around_the_commit_never_resumes_and_the_start_says_what_became_of_it(
    tmp_path: Path, point: str, autojump_clock: MockClock
) -> None:
    path = tmp_path / "operators.json"
    write_people(path, **ROLES)
    async with open_world(tmp_path, TWO_MAN_RULE="true", OPERATORS_FILE=str(path)) as world:
        callers = Callers(await world.start_bot(crash_at=point))
        await trio.sleep(10)
        await callers.hold()
        id = await callers.propose()
        with pytest.raises(BaseExceptionGroup) as end:
            await callers.approve("bob", id)
        assert end.value.split(Killed)[1] is None
        assert world.life.dead
        await world.kill_bot()
        assert resumes(world) == []
        callers = Callers(await world.start_bot())
        await trio.sleep(10)
        assert callers.bot.modes.view.mode is Mode.HOLD
        await callers.quiet()
        state, reason = await callers.state_of(id)
        assert state == "VOID"
        answer = await callers.approve("cy", id)
        assert answer.status_code == 409
        events, _ = await callers.bot.ledger.events_page(1000)
        said = [each.message for each in events if each.kind == "approval"]
        if point.endswith("after"):
            assert reason.startswith("approved by bob and spent: the process ended")
            assert any("VOID, approved by bob and spent: the process ended" in each for each in said)
            assert reason.endswith("the mode is HOLD")
        else:
            assert reason == "the service was started again"
        assert (await callers.approve("bob", await callers.propose())).status_code == 200
        assert len(resumes(world)) == 1
        await world.stop_bot()


async def test_an_approval_in_force_is_marked_so_and_a_restart_says_nothing_of_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with held_world(tmp_path) as (world, callers):
        id = await callers.propose()
        await callers.approve("bob", id)
        await trio.sleep(2)
        row = await callers.bot.ledger.approval(id)
        assert row is not None
        assert row.applied_ns is not None
        await world.kill_bot()
        callers = Callers(await world.start_bot())
        assert (await callers.state_of(id)) == ("APPROVED", "")


async def test_a_ledger_that_fails_approves_nothing_and_hold_still_works(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with held_world(tmp_path) as (world, callers):
        id = await callers.propose()

        def fail(sql: str) -> None:
            raise sqlite3.OperationalError("disk I/O error")

        world.disk_fault = fail
        assert (await callers.approve("bob", id)).status_code == 503
        assert (await callers.patch("ann", mode="HOLD")).status_code == 200
        assert (await callers.patch("cy", mode="RUN")).status_code in (409, 503)
        world.disk_fault = None
        await trio.sleep(3)
        assert (await callers.state_of(id))[0] == "VOID"
        assert resumes(world) == []


async def test_an_approval_whose_answer_is_lost_is_spent_and_stands_in_no_holds_way(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with held_world(tmp_path) as (world, callers):
        id = await callers.propose()
        ledger = callers.bot.ledger
        decide = ledger.decide_approval

        async def decide_and_hang(decided: Any) -> bool:
            await decide(decided)
            await trio.sleep_forever()
            raise AssertionError

        ledger.decide_approval = decide_and_hang  # type: ignore[method-assign]
        codes: list[int] = []

        async def approve() -> None:
            codes.append((await callers.approve("bob", id)).status_code)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(approve)
            await trio.sleep(1)
            row = await ledger.approval(id)
            assert row is not None
            assert row.state == "APPROVED", "it is written down, and nobody here knows"
            with trio.fail_after(0.5):
                assert (await callers.patch("cy", mode="HOLD")).status_code == 200
        assert codes == [503]
        ledger.decide_approval = decide  # type: ignore[method-assign]
        await trio.sleep(3)
        assert (await callers.state_of(id)) == ("VOID", "whether bob's word was recorded is not known")
        row = await ledger.approval(id)
        assert row is not None
        assert (row.state, row.decided_by) == ("VOID", "bob")
        assert resumes(world) == []
