"""The outbox by itself: order, bounds, lengths. And the notices that fill it."""

from __future__ import annotations

import pytest
import trio
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from propbot.domain.approvals import Approval, ApprovalState
from propbot.domain.events import Head
from propbot.domain.mode import CancelResult
from propbot.telegram import notices
from propbot.telegram.outbox import NOTES_MAX, Note, Outbox, Rank, cut, units
from tests.unit.telegram.conftest import Rig, open_rig


def note(rank: Rank, text: str, key: str = "", mono_s: float = 0.0) -> Note:
    return Note(rank, text, "03:12:09Z", mono_s, key)


def test_pushes_are_one_message_by_rank_and_an_answer_is_its_own() -> None:
    outbox = Outbox()
    for rank, text in ((Rank.NOTE, "n"), (Rank.WARNING, "w1"), (Rank.ANSWER, "a"), (Rank.WARNING, "w2")):
        outbox.put(note(rank, text))
    assert outbox.take(0).text == "a"
    assert outbox.take(0).text == "03:12:09Z w1\n03:12:09Z w2\n03:12:09Z n"
    outbox.put(note(Rank.ANSWER, "a"))
    outbox.put(note(Rank.URGENT, "u"))
    assert [outbox.take(0).text, outbox.take(61).text] == ["03:12:09Z u", "(of 03:12:09Z, told late)\na"]


def test_what_is_given_back_comes_again_behind_what_is_more_urgent_and_before_its_equals() -> None:
    outbox = Outbox()
    outbox.put(note(Rank.WARNING, "old"))
    outbox.put(note(Rank.NOTE, "head 1", "head"))
    letter = outbox.take(0)
    outbox.put(note(Rank.WARNING, "new"))
    outbox.put(note(Rank.URGENT, "urgent"))
    outbox.put(note(Rank.NOTE, "head 2", "head"))
    outbox.give_back(letter)
    assert [line.split("Z ")[1] for line in outbox.take(0).text.splitlines()] == ["urgent", "old", "new", "head 2"]


@given(st.lists(st.tuples(st.sampled_from(Rank), st.sampled_from(["", "", "", "k"])), max_size=NOTES_MAX * 2))
def test_it_is_bounded_and_the_least_urgent_go(put: list[tuple[Rank, str]]) -> None:
    outbox = Outbox()
    for number, (rank, key) in enumerate(put):
        outbox.put(note(rank, str(number), key))
    assert outbox.waiting <= NOTES_MAX
    urgent = [number for number, (rank, key) in enumerate(put) if rank is Rank.URGENT and not key]
    told: list[str] = []
    while outbox.waiting:
        told += outbox.take(0).text.split()
    if len(urgent) <= NOTES_MAX // 2:
        assert {str(number) for number in urgent} <= set(told)


@given(st.text(max_size=6000), st.integers(1, 4096))
def test_a_text_is_cut_to_units_and_nothing_is_torn(text: str, units_max: int) -> None:
    shown = cut(text, units_max)
    assert len(shown.encode("utf-16-le", "surrogatepass")) // 2 <= units_max
    assert shown == text if units(text) <= units_max else text.startswith(shown[:-1]) and shown.endswith("…")


@given(st.lists(st.text(min_size=1, max_size=9000), min_size=1, max_size=50))
def test_a_message_is_never_too_long_for_telegram(texts: list[str]) -> None:
    outbox = Outbox()
    for text in texts:
        outbox.put(note(Rank.WARNING, text))
    letter = outbox.take(0)
    assert len(letter.text.encode("utf-16-le", "surrogatepass")) // 2 <= 4096
    assert len(letter.notes) == len(texts)


async def test_a_hold_its_causes_its_cancels_and_its_end_are_told_once(rig: Rig, autojump_clock: MockClock) -> None:
    rig.desk.incidents.open("P0", "guard_trip", "recon", "ledger differs")
    rig.desk.trip("guard:recon", "ledger differs")
    at_s = trio.current_time()
    told = await rig.telegram.wait_text("guard:recon: ledger differs")
    assert told.at_s - at_s < 0.1
    assert "(incident 1); /status" in told.text
    await trio.sleep(2)
    rig.desk.trip("guard:recon", "ledger differs", CancelResult(2, 1.5, ["binance-um"]))
    rig.desk.trip("operator:ann", "me too", CancelResult(0, 3.5))
    rig.desk.trip("guard:hedge", "naked", CancelResult(0, 3.5))
    await trio.sleep(30)
    rig.desk.run_again()
    await rig.telegram.wait_text("HOLD was left: mode RUN")
    lines = "\n".join(rig.telegram.texts()).splitlines()
    said = [line.partition("Z ")[2] for line in lines]
    assert "one more cause for HOLD, guard:hedge: naked; /status" in said[3].removeprefix("P0 ")
    assert sum("0 orders left after 3.5 s, as the venues say" in each for each in said) == 1
    assert not any("me too" in each for each in said), "a person knows what they did"
    assert sum("(incident 1)" in each for each in said) == 1


async def test_approvals_are_told_when_they_wait_and_when_they_end(rig: Rig, autojump_clock: MockClock) -> None:
    waits = Approval("k3f9x2ab", '{"mode":"RUN"}', "d", "ann", 0, 1_790_000_300_000_000_000)
    rig.desk.pending = [waits]
    told = await rig.telegram.wait_text("k3f9x2ab (mode=RUN) of ann waits for another person until ")
    assert told.text.endswith(": /approve k3f9x2ab or /reject k3f9x2ab")
    ended = evolve(waits, state=ApprovalState.VOID, reason="a HOLD came in between")
    rig.desk.pending, rig.desk.decided = [], [ended]
    await rig.telegram.wait_text("of ann: VOID, a HOLD came in between")
    rig.desk.pending, rig.desk.ledger_hangs = [waits], True
    await trio.sleep(5)
    rig.desk.pending = []
    await rig.telegram.wait_text("k3f9x2ab (mode=RUN) of ann no longer waits")


async def test_the_journals_head_is_told_at_the_start_and_hourly_and_only_the_newest_waits(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert notices.HEAD_EVERY_S == 3600
    monkeypatch.setattr(notices, "HEAD_EVERY_S", 600.0)  # an hour has many seconds
    head = Head(1, "aa" * 32)
    async with open_rig(head=lambda: head) as rig:
        await rig.telegram.wait_text(f"journal head 1 {'aa' * 32}")
        for number in range(2, 5):
            head = Head(number, "bb" * 32)
            rig.telegram.hangs = number < 4
            await trio.sleep(610)
        told = "\n".join(rig.telegram.texts("journal head")).split("journal head ")[1:]
        assert [each.split()[0] for each in told] == ["1", "3", "4"]


async def test_a_p0_that_nobody_acknowledges_is_told_again_until_somebody_does(
    rig: Rig, autojump_clock: MockClock
) -> None:
    incidents = rig.desk.incidents
    rig.desk.trip("guard:recon", "ledger differs")
    first = incidents.open("P0", "guard_trip", "recon", "ledger differs")
    incidents.open("P1", "test", "part", "no P0")
    await trio.sleep(notices.REMIND_EVERY_S - 10)
    assert rig.telegram.texts("nobody has acknowledged") == []
    await trio.sleep(20)
    (told,) = rig.telegram.texts("nobody has acknowledged")
    assert "a P0 incident of " in told
    assert f"{first.id} recon: ledger differs; mode HOLD; propbotctl incidents ack {first.id}" in told
    assert "part" not in told
    incidents.resolve(first.id, "its cause is gone")  # but nothing is traded, and nobody knows why
    last = [incidents.open("P0", "guard_trip", "hedge", f"naked {n}") for n in range(6)][-1]
    await trio.sleep(notices.REMIND_EVERY_S)
    told = rig.telegram.texts("nobody has acknowledged")[-1]
    assert "7 P0 incidents, the oldest of " in told
    assert "; and 2 more; mode HOLD" in told
    for incident in incidents.all():
        if incident.id != last.id:
            incidents.acknowledge(incident.id, "ann", "")
    incidents.resolve(last.id, "its cause is gone")
    rig.desk.run_again()  # whoever left HOLD has read what it was
    before = len(rig.telegram.texts())
    await trio.sleep(3 * notices.REMIND_EVERY_S)
    assert rig.telegram.texts()[before:] == rig.telegram.texts("HOLD was left")


async def test_what_was_so_before_the_start_is_no_news(autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        rig.desk.incidents.open("P0", "test", "part", "an old one")
        rig.desk.trip("guard:recon", "since yesterday")
        told = await rig.telegram.wait_text("has started")
        assert "guard:recon: since yesterday" in told.text
        await trio.sleep(10)
        assert len(rig.telegram.sent) == 1


@pytest.mark.parametrize("text", ["*bold* _it_ [x](http://evil) <b>&amp;</b>", "/approve\nx"])
async def test_nothing_in_a_text_is_markup(rig: Rig, text: str, autojump_clock: MockClock) -> None:
    """The fake refuses a parse mode; what is told is what was said."""
    rig.desk.incidents.open("P1", "test", "part", text)
    assert text in (await rig.telegram.wait_text("P1 part")).text
