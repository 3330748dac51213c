"""Commands: what is done, in which order, what is answered, and who is not heard."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from propbot.control.operators import Role
from propbot.domain.approvals import Approval, ApprovalState
from propbot.domain.mode import Mode
from propbot.domain.status import Health
from propbot.status.desk import Change, Conflict, Decided, Done, Forbidden, Pending, Unknown, Unusable
from tests.unit.telegram.conftest import Rig, Rows, open_rig, person

GROUP = -1001
ANN, VIC = person("ann", Role.APPROVER, 7), person("vic", Role.VIEWER, 8)
PENDING = Approval("k3f9x2ab", '{"mode":"RUN"}', "d", "ann", 0, 1_790_000_300_000_000_000)


async def ask(rig: Rig, text: str, **message: Any) -> str:
    """The answer to a command: the next message."""
    known = len(rig.telegram.sent)
    rig.telegram.say(text, **message)
    with trio.fail_after(30):
        while len(rig.telegram.sent) == known:
            await trio.sleep(0.05)
    return rig.telegram.sent[known].text


async def test_a_pause_is_a_hold_with_its_reason_and_then_made_durable(rig: Rig, autojump_clock: MockClock) -> None:
    said = await ask(rig, "/pause market  looks\nodd")
    assert "by operator:telegram: market looks odd; 0 orders left" in said
    assert rig.desk.heard == ["hold", "apply by telegram"]
    assert rig.desk.exempt is False
    assert rig.told("/pause from Telegram")


async def test_a_pause_holds_while_disk_ledger_and_desk_hang(rig: Rig, autojump_clock: MockClock) -> None:
    rig.desk.ledger_hangs = rig.ledger.hangs = True
    rig.telegram.say("/resume")
    await trio.sleep(0.5)
    rig.telegram.say("/pause")
    await trio.sleep(0.1)
    assert rig.desk.mode() is Mode.HOLD
    await rig.telegram.wait_text("/resume was not done: the ledger does not answer")
    await rig.telegram.wait_text("in force, but perhaps not durable: no answer in time")


async def test_a_pause_undoes_what_waits_before_it_and_not_what_comes_after(
    rig: Rig, autojump_clock: MockClock
) -> None:
    rig.desk.enter_hold("first", "ann", winddown_exempt=False)
    for text in ("/resume", "/drain", "/status", "/pause", "/resume"):
        rig.telegram.say(text)
    await trio.sleep(20)
    (undone,) = rig.telegram.texts("was not done")
    assert [line.partition(" ")[2] for line in undone.splitlines() if "was not done" in line] == [
        f"/{name} was not done: /pause came after it" for name in ("resume", "drain")
    ]
    assert [patch.mode for patch in rig.desk.patches] == [Mode.HOLD, Mode.RUN]


async def test_resume_clears_safe_mode_only_where_it_is_set(rig: Rig, autojump_clock: MockClock) -> None:
    await ask(rig, "/resume")
    rig.desk.safe = True
    await ask(rig, "/resume")
    assert [(patch.mode, patch.safe_mode) for patch in rig.desk.patches] == [(Mode.RUN, None), (Mode.RUN, False)]


@pytest.mark.parametrize(
    ("outcome", "holding"),
    [
        (Done({"mode": Change("HOLD", "RUN")}, ["the smallest order"]), "mode: HOLD → RUN\nthe smallest order"),
        (Done(), "nothing had to be changed: mode RUN"),
        (Pending(PENDING), "nothing has changed yet: approval k3f9x2ab (mode=RUN) of ann waits for another person"),
        (Conflict(["recon differs", "more"]), "not possible now:\n- recon differs\n- more\nmend that, then /"),
        (Forbidden("not with PROFILE=live"), "refused: not with PROFILE=live"),
        (Unusable({"mode": "odd"}), "refused: mode: odd"),
    ],
)
async def test_each_outcome_of_the_desk_has_its_answer(
    rig: Rig, outcome: Any, holding: str, autojump_clock: MockClock
) -> None:
    rig.desk.outcome = outcome
    for command in ("/resume", "/drain"):
        assert holding in await ask(rig, command)


async def test_decisions_have_theirs(autojump_clock: MockClock) -> None:
    async with open_rig(people=(ANN,)) as rig:
        await trio.sleep(5)
        decided = Approval("k1", '{"mode":"RUN"}', "d", "bob", 0, 0, ApprovalState.APPROVED, "ann")
        for outcome, holding in (
            (Decided(decided, Done({"mode": Change("HOLD", "RUN")})), "of bob: APPROVED by ann\nmode: HOLD → RUN"),
            (Conflict(["expired"]), "not possible now:\n- expired"),
            (Forbidden("needs another person"), "refused: needs another person"),
            (Unknown("GET /api/ui/approvals"), "there is no such proposal; /status"),
        ):
            rig.desk.approval_outcome = outcome
            assert holding in await ask(rig, "/approve k1", user=7)
            assert holding in await ask(rig, "/reject k1 not today", user=7)
        assert rig.desk.heard[-2:] == ["ann approves k1", "ann rejects k1: not today"]
        assert "which one?" in await ask(rig, "/approve", user=7)
        assert "which one?" in await ask(rig, "/reject", user=7)


async def test_looks_change_nothing_and_say_unknown(rig: Rig, autojump_clock: MockClock) -> None:
    rig.desk.safe = True
    rig.desk.pending = [PENDING]
    status = await ask(rig, "/status")
    assert status.startswith("PropBot 0.1.0, paper: OK\nmode RUN\nsafe_mode is on: no order is sent")
    assert "/approve k3f9x2ab or /reject k3f9x2ab" in status
    await trio.sleep(3)
    assert "binance-um BTCUSDT -0.016 at 61234.5, mark 61230, unrealised 0.072 USDT" in await ask(rig, "/positions")
    assert "unrealised unknown, equity 223456.7" in await ask(rig, "/pnl")
    assert "/pause [reason]" in await ask(rig, "/help")
    assert (rig.desk.heard, rig.ledger.rows) == ([], {})


async def test_what_is_no_command_is_left_alone_and_an_unknown_one_is_answered(
    rig: Rig, autojump_clock: MockClock
) -> None:
    known = len(rig.telegram.sent)
    for text in ("hello", "", "/", "pause", "/pause@otherbot", "/" + "x" * 40, "\ud800/pause"):
        rig.telegram.say(text)
    await trio.sleep(5)
    assert len(rig.telegram.sent) == known
    assert "there is no /sell" in await ask(rig, "/sell everything")
    await ask(rig, "/PAUSE@deskbot \ud800 \u202e x")
    assert rig.desk.hold().first.reason == "x"


async def test_while_its_name_is_not_known_only_a_pause_that_names_a_bot_is_obeyed(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        rig.telegram.fail("getMe", 502, 1)
        await trio.sleep(5)
        rig.telegram.say("/drain@deskbot")
        await ask(rig, "/pause@deskbot")
        assert [patch.mode for patch in rig.desk.patches] == [Mode.HOLD]
        await trio.sleep(60)
        rig.telegram.say("/pause@otherbot")
        await ask(rig, "/drain@deskbot")
        assert [patch.mode for patch in rig.desk.patches] == [Mode.HOLD, Mode.DRAIN]


async def test_no_more_commands_wait_than_can_be_done(rig: Rig, autojump_clock: MockClock) -> None:
    for _ in range(40):
        rig.telegram.say("/drain")
    rig.telegram.say("/pause")
    await trio.sleep(0.5)
    assert rig.desk.mode() is Mode.HOLD, "it does not wait for its turn"
    held = await rig.telegram.wait_text("HOLD since")
    told = await rig.telegram.wait_text("was not done")
    assert held.at_s - told.at_s < 1.5, "one message tells of all that was not done"
    assert told.text.count("was not done: 20 commands wait already") == 20
    assert told.text.count("was not done: /pause came after it") == 20
    assert [patch.mode for patch in rig.desk.patches] == [Mode.HOLD]


async def test_the_offset_is_kept_before_the_act_and_asked_for_by_the_next_life(autojump_clock: MockClock) -> None:
    ledger = Rows()
    async with open_rig(ledger=ledger) as rig:
        await rig.telegram.wait_text("has started")
        await trio.sleep(5)
        id = rig.telegram.say("/drain")
        rig.desk.ledger_hangs = True  # the act itself never ends
        await trio.sleep(1)
        assert ledger.rows == {"telegram_offset": str(id + 1)}
    async with open_rig(ledger=ledger) as rig:
        rig.telegram.push_again(id, {"message": {}})
        await trio.sleep(5)
        assert rig.telegram.offsets[0] == id + 1
        assert not rig.desk.heard


@pytest.mark.parametrize("tells_date", [True, False])
async def test_old_and_future_messages_are_dropped_and_said_to_be(autojump_clock: MockClock, tells_date: bool) -> None:
    async with open_rig(tells_date=tells_date) as rig:
        rig.telegram.say("/pause", age_s=2)
        await rig.telegram.wait_text("from before this start")
        await trio.sleep(120)
        rig.telegram.say("/pause", age_s=61)
        rig.telegram.say("/drain", age_s=-62)
        await rig.telegram.wait_text("older than 60 s")
        await rig.telegram.wait_text("from the future")
        assert not rig.desk.heard
        rig.telegram.say("/pause", age_s=58)
        await trio.sleep(1)
        assert rig.desk.mode() is Mode.HOLD


async def test_a_clock_of_ours_that_is_far_off_makes_nothing_stale(rig: Rig, autojump_clock: MockClock) -> None:
    """As with a recording's clock: how old a message is, Telegram's own clock says."""
    right_ns = rig.desk.clock.wall_ns
    rig.telegram.wall_ns = lambda: right_ns() - 90 * 86_400 * 10**9
    await ask(rig, "/status")
    assert "by operator:telegram" in await ask(rig, "/pause")
    rig.telegram.say("/drain", age_s=70)
    await rig.telegram.wait_text("older than 60 s")


SPOOFS: dict[str, dict[str, Any]] = {
    "a foreign chat": {"chat": 99},
    "a person's own chat, which is not ours": {"chat": 7},
    "a foreign user in our chat": {"user": 666},
    "an anonymous administrator": {"user": 1_087_968_824, "sender_chat": {"id": GROUP}},
    "a channel in a person's name": {"sender_chat": {"id": -5}},
    "a bot": {"from": {"id": 7, "is_bot": True}},
    "by way of a bot": {"via_bot": {"id": 8}},
    "forwarded": {"forward_origin": {"type": "user", "date": 1}},
    "forwarded, as it was told before": {"forward_date": 1, "forward_from": {"id": 7}},
    "automatically forwarded": {"is_automatic_forward": True},
    "edited": {"edit_date": 1},
    "stale": {"age_s": 61},
    "from the future": {"age_s": -70},
    "a viewer": {"user": 8},
    "nobody": {"from": None},
    "a number that is text": {"from": {"id": "7"}},
    "a number that is true": {"from": {"id": True}},
    "no date": {"date": None},
}


@pytest.mark.parametrize("command", ["/pause", "/drain", "/resume", "/approve k1", "/reject k1"])
async def test_whoever_is_not_meant_moves_nothing(autojump_clock: MockClock, command: str) -> None:
    async with open_rig(chat_id=GROUP, people=(ANN, VIC), with_edits=True) as rig:
        await trio.sleep(100)
        for what, how in SPOOFS.items():
            rig.telegram.say(command, **{"chat": GROUP, "user": 7, **how})
            await trio.sleep(2)
            assert [each for each in rig.desk.heard if "refused" not in each] == [], what
        good = {
            "message_id": 1, "from": {"id": 7, "is_bot": False}, "chat": {"id": GROUP}, "text": command,
            "date": rig.telegram.wall_ns() // 10**9,
        }
        for kind, content in (("edited_message", good), ("channel_post", good), ("message", "odd"), ("poll", good)):
            rig.telegram.push({kind: content})
        await trio.sleep(10)
        assert rig.desk.heard == []
        assert {each.chat_id for each in rig.telegram.sent} == {GROUP}, "strangers are not even answered"
        assert len(rig.told("is nobody we listen to")) == 1, "nor do they fill the journal"
        assert rig.chat.health.ignored == 4
        rig.telegram.say(command, chat=GROUP, user=7)
        await trio.sleep(5)
        assert rig.desk.heard, "the same from whom it is meant of"


async def test_updates_that_are_none_end_nothing(rig: Rig, autojump_clock: MockClock) -> None:
    for result in ([None, {"update_id": "7"}, {"update_id": 2**70}, {"update_id": True}], {}, None, [7]):
        rig.telegram.fail("getUpdates", 200, 1, json.dumps({"ok": True, "result": result}).encode())
        rig.telegram.say("/status")
        await trio.sleep(3)
        assert rig.judge()[0] is Health.OK
    assert rig.told("polls fail: getUpdates: an answer that is no list")
    assert "by operator:telegram" in await ask(rig, "/pause")


async def test_many_strangers_are_a_line_a_minute(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        for _ in range(300):
            rig.telegram.say("/pause", chat=99, user=98)
            await trio.sleep(1)
        told = rig.told("is nobody we listen to")
        assert 4 <= len(told) <= 6
        assert "user 98 in chat 99" in told[0]
        assert "59 more since" in told[1]
        assert rig.chat.health.ignored == 300


async def test_roles_are_those_of_the_api(autojump_clock: MockClock) -> None:
    cy = person("cy", Role.OPERATOR, 11)
    async with open_rig(chat_id=GROUP, people=(ANN, VIC, cy)) as rig:
        await trio.sleep(5)
        assert "PropBot" in await ask(rig, "/status", chat=GROUP, user=8)
        assert "needs the role operator, vic is viewer" in await ask(rig, "/pause", chat=GROUP, user=8)
        assert "needs the role approver, cy is operator" in await ask(rig, "/approve k1", chat=GROUP, user=11)
        assert rig.told("vic tried /pause, which their role does not allow")
        assert "by operator:cy" in await ask(rig, "/pause", chat=GROUP, user=11)


async def test_who_is_taken_off_the_list_does_not_come_in_as_nobody(autojump_clock: MockClock) -> None:
    async with open_rig(chat_id=7, people=(ANN,)) as rig:
        await trio.sleep(5)
        assert "PropBot" in await ask(rig, "/status", chat=7, user=7)
        rig.people.replace(())
        rig.telegram.say("/pause", chat=7, user=7)
        await trio.sleep(5)
        assert not rig.desk.heard


async def test_in_a_group_where_nobody_is_listed_everybody_can_pause_and_nobody_resume(
    autojump_clock: MockClock,
) -> None:
    async with open_rig(chat_id=GROUP) as rig:
        await trio.sleep(5)
        for command in ("/drain", "/resume", "/approve x", "/reject x"):
            assert "needs a person with a telegram_id" in await ask(rig, command, chat=GROUP, user=1)
        assert "PropBot" in await ask(rig, "/status", chat=GROUP, user=1)
        assert "by operator:telegram" in await ask(rig, "/pause", chat=GROUP, user=1)


async def test_under_the_two_man_rule_a_chat_that_is_no_person_does_not_propose(autojump_clock: MockClock) -> None:
    async with open_rig(two_man_rule=True) as rig:
        await trio.sleep(5)
        await ask(rig, "/drain")
        await ask(rig, "/pause")
        assert "only a person with a telegram_id" in await ask(rig, "/resume")
        assert "needs a person" in await ask(rig, "/approve x")
        assert [patch.mode for patch in rig.desk.patches] == [Mode.DRAIN, Mode.HOLD]


async def test_a_failing_desk_is_told_as_what_it_is(rig: Rig, autojump_clock: MockClock) -> None:
    rig.desk.ledger_error = "database is locked"
    assert "/drain could not be made durable (database is locked)" in await ask(rig, "/drain")
    assert "in force, but perhaps not durable: database is locked" in await ask(rig, "/pause")
