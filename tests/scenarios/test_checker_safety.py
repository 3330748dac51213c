"""The oracle against itself, the rules of the safety core: a run with books, disk, people and rates beside its orders,
clean at first; then a planted bug for each rule, caught and named.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from propbot.simulate.checker import check, report
from tests.scenarios.test_checker import PLANTED as PLANTED_ELSEWHERE
from tests.scenarios.test_checker import SPOT, UM, Run, clean_run

SECRET = "s3cr3t-0123456789-abcdefghij"


def add_event(run: Run, source: str, message: str) -> None:
    prev = run.events[-1]["hash"] if run.events else "0" * 64
    row = [len(run.events) + 1, 7, "INFO", "control", message, "", "", source, "{}"]
    text = json.dumps(row, separators=(",", ":"), ensure_ascii=False)
    names = ("id", "ts_ns", "level", "kind", "message", "venue", "symbol", "source", "details")
    digest = hashlib.sha256(f"{prev}\n{text}".encode()).hexdigest()
    run.events.append({**dict(zip(names, row, strict=True)), "prev_hash": prev, "hash": digest})


def state_text(generation: int, **more: Any) -> str:
    body = {"schema": 1, "generation": generation, "mode": "RUN", **more}
    checksum = hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    return json.dumps({**body, "checksum": checksum})


def ask(run: Run, t: float, status: int, **more: Any) -> dict[str, Any]:
    fields = {"method": "PATCH", "path": "/api/ui/control", "principal": "anna", "before": "a", "after": "a"}
    return run.harness(t, "api", status=status, **{**fields, "disturbed": False, "hold_asked": False, **more})


def full_run() -> Run:
    """The clean run with all that the safety rules read."""
    run = clean_run()
    for row in list(run.rows):
        if row["kind"] != "order_send":
            continue
        t, u = row["t"], int(row["t"] * 1000)
        row["seen"] = {
            venue: {"u": u, "synced": True, "crossed": False, "age_s": 0.2, "bid": "49990", "ask": "50010.0"}
            for venue in (UM, SPOT)
        }
        run.tops |= {(venue, u): (t - 0.2, "49990.00", "50010") for venue in (UM, SPOT)}
    for source in ("", "operator:anna", "operator:anna"):
        add_event(run, source, "é")
    run.harness(0, "state_file", at="start", content=None)
    run.harness(20, "state_file", at="crash", content=state_text(4))
    run.harness(22, "state_file", at="start", content=state_text(4))
    head = {"id": 3, "hash": run.events[2]["hash"]}
    run.harness(199, "state_file", at="stop", content=state_text(9, audit_head=head))
    run.canaries = {"API_TOKEN": SECRET}
    run.written = {"the log": b"nothing of it: s3cr3t", "ledger.db": b"\0"}
    run.venue(5, "request", UM, method="GET", path="/time")
    run.venue(5, "reply", UM, method="GET", path="/time", status=200, retry_after=None, used_share=0.5)
    run.harness(6, "resources", counts={"tasks": 40})
    run.harness(198, "resources", counts={"tasks": 41})
    run.harness(
        198, "at_rest", mode="HOLD", causes=[{"source": "operator:anna", "reason": "lunch"}], unwell=[],
        heartbeat_age_s=0.2, dead_tasks=[],
    )
    run.harness(40, "hold_asked", dead=[])
    ask(run, 40, 200, after="b", hold_asked=True)
    ask(run, 45, 422)
    ask(run, 45, 401, principal="")
    run.trace_hashes = ("ab", "ab")
    return run


def test_a_clean_run_of_the_safety_core_passes() -> None:
    violations = check(full_run().evidence())
    assert not violations, report(violations)


def first_sight(run: Run, client_order_id: str = "pb1", venue: str = UM) -> dict[str, Any]:
    sight: dict[str, Any] = run.find("order_send", client_order_id=client_order_id)["seen"][venue]
    return sight


# --- I10, I24


def order_byte_long_after_the_trip(run: Run) -> None:
    """The gate said yes in time, and the byte left a tenth of a second after the HOLD."""
    run.commit(39.9, "i5", "open", ("pb5", UM, "SELL", "0.002"), ("pb6", SPOT, "BUY", "0.002"))
    for client_order_id, venue, side in (("pb5", UM, "SELL"), ("pb6", SPOT, "BUY")):
        run.send(39.9, client_order_id, "open", venue, side, "0.002", "50000")
        run.move("order", 40.15, client_order_id=client_order_id)
        run.orders[-1 if venue == SPOT else -2]["state"] = "CANCELED"


def hold_that_is_not_saved(run: Run) -> None:
    run.move("state_saved", 40.3, mode="HOLD")


def hold_that_cancels_nothing(run: Run) -> None:
    run.commit(35, "i5", "open", ("pb5", SPOT, "BUY", "0.002"))
    run.send(35, "pb5", "open", SPOT, "BUY", "0.002", "40000")
    run.venue(35.01, "order_reply", SPOT, client_order_id="pb5", status="NEW")
    run.venue(45, "cancel", SPOT, client_order_id="pb5")
    run.venue(45.1, "cancel_reply", SPOT, client_order_id="pb5", status="CANCELED")
    run.orders[-1]["state"] = "CANCELED"


def hold_that_waits_for_a_dead_disk(run: Run) -> None:
    run.harness(33, "hold_asked", dead=["disk", "ledger", UM, SPOT])


# --- I12, I13


def order_on_a_book_out_of_sync(run: Run) -> None:
    first_sight(run)["synced"] = False


def order_on_a_crossed_book(run: Run) -> None:
    """Both sides as the venue had them: only that they are crossed is wrong."""
    sight = first_sight(run)
    sight |= {"bid": "50010", "ask": "49990"}
    run.tops[UM, sight["u"]] = (9.9, "50010", "49990")
    first_sight(run, "pb2", UM).update(sight, bid="50010", ask="49990")


def order_on_a_silent_book(run: Run) -> None:
    first_sight(run)["age_s"] = 1.7


def order_that_cites_no_book(run: Run) -> None:
    run.find("order_send", client_order_id="pb1")["seen"] = {}


def top_that_the_venue_did_not_have(run: Run) -> None:
    first_sight(run)["bid"] = "49989"


def book_that_the_venue_never_had(run: Run) -> None:
    first_sight(run)["u"] = 12


def book_that_was_old_at_the_venue(run: Run) -> None:
    """Frames arrive, so the bot thinks it fresh: they are of the day before yesterday."""
    u = first_sight(run)["u"]
    run.tops[UM, u] = (5.0, *run.tops[UM, u][1:])


# --- I14, I16, I17


def torn_state_file(run: Run) -> None:
    row = run.find("state_file", at="crash")
    row["content"] = row["content"][:40]


def state_file_with_another_mode(run: Run) -> None:
    row = run.find("state_file", at="crash")
    row["content"] = row["content"].replace("RUN", "HOLD")


def state_file_that_goes_back(run: Run) -> None:
    run.find("state_file", at="start", content=state_text(4))["content"] = state_text(3)


def state_file_that_vanishes(run: Run) -> None:
    run.find("state_file", at="start", content=state_text(4))["content"] = None


def secret_in_the_log(run: Run) -> None:
    run.written["the log"] = f"token={SECRET}".encode()


def part_of_a_secret_in_the_ledger(run: Run) -> None:
    run.written["ledger.db"] = b"\0..." + SECRET[2:20].encode()


def secret_in_base64(run: Run) -> None:
    run.written["the log"] = base64.b64encode(b"{" + SECRET.encode() + b"}")


def secret_in_hex(run: Run) -> None:
    run.written["the log"] = SECRET.encode().hex().encode()


def edited_event(run: Run) -> None:
    run.events[1]["message"] = "e"


def removed_event(run: Run) -> None:
    del run.events[0]


def cut_tail(run: Run) -> None:
    """Nothing of what is left is wrong: only the head that is kept elsewhere shows it."""
    del run.events[2]


def change_that_nobody_wrote_down(run: Run) -> None:
    ask(run, 46, 200, before="b", after="c")
    ask(run, 47, 200, before="c", after="d")


# --- I18 to I21


def request_weight_above_the_share(run: Run) -> None:
    run.find("reply", venue=UM)["used_share"] = 0.83


def request_before_its_retry_after(run: Run) -> None:
    run.venue(6, "fault", UM, fault="rate_limit_429")
    run.venue(6, "reply", UM, method="GET", path="/time", status=429, retry_after="10", used_share=0.5)
    run.venue(12, "request", UM, method="GET", path="/time")


def request_after_a_refusal_that_did_not_drip_any_more(run: Run) -> None:
    run.venue(1, "fault", UM, fault="drip_body", what="begins", params={"every_s": 1.0, "seconds": 3.0})
    request_before_its_retry_after(run)


def ban_of_our_own_doing(run: Run) -> None:
    run.find("reply", venue=UM)["status"] = 418


def hold_that_nobody_explains(run: Run) -> None:
    run.find("at_rest")["causes"] = [{"source": "guard:recon", "reason": ""}]


def drain_without_end(run: Run) -> None:
    run.find("at_rest")["mode"] = "DRAIN"


def run_that_is_not_well(run: Run) -> None:
    run.find("at_rest").update(mode="RUN", unwell=["feed_stale: binance-um 30 s old"])


def engine_that_stands_still(run: Run) -> None:
    run.find("at_rest")["heartbeat_age_s"] = 6.0


def tasks_that_pile_up(run: Run) -> None:
    run.find("resources", t=198)["counts"] = {"tasks": 80}


def refused_request_that_changes(run: Run) -> None:
    run.find("api", status=422)["after"] = "c"


def read_that_changes(run: Run) -> None:
    ask(run, 46, 200, method="GET", after="c")


def change_for_nobody(run: Run) -> None:
    run.find("api", status=200)["principal"] = ""


def another_trace_from_the_same_seed(run: Run) -> None:
    run.trace_hashes = ("ab", "cd")


# --- I23


def approved_resume(run: Run) -> None:
    """What is right: anna asks, ben approves in time, and just that is carried out."""
    run.two_man = True
    same = {"id": "a1", "proposer": "anna", "digest": "d1", "expires_t": 345.0}
    run.bot(45, "approval", state="PENDING", by="", **same)
    run.bot(48, "approval", state="APPROVED", by="ben", **same)
    run.bot(48, "resume", operator="anna", mode="RUN", approval="a1", approver="ben")
    run.set_mode(48, "RUN", "operator:anna")
    run.set_mode(50, "HOLD", "operator:anna", "lunch")


def test_a_resume_by_two_people_is_right() -> None:
    run = full_run()
    approved_resume(run)
    violations = check(run.evidence())
    assert not violations, report(violations)


def resume_by_one_person(run: Run) -> None:
    approved_resume(run)
    run.find("approval", state="APPROVED")["by"] = "anna"
    run.find("resume", approval="a1")["approver"] = "anna"


def approval_after_its_time(run: Run) -> None:
    approved_resume(run)
    run.find("approval", state="PENDING")["expires_t"] = 47.9


def approval_of_another_change(run: Run) -> None:
    approved_resume(run)
    run.find("approval", state="APPROVED")["digest"] = "d2"


def approval_used_twice(run: Run) -> None:
    approved_resume(run)
    run.bot(60, "resume", operator="anna", mode="RUN", approval="a1", approver="ben")
    run.set_mode(60, "RUN", "operator:anna")


def resume_that_nobody_approved(run: Run) -> None:
    approved_resume(run)
    run.find("approval", state="APPROVED")["state"] = "VOID"


PLANTED: list[tuple[str, Callable[[Run], None]]] = [
    *(
        ("I10", bug)
        for bug in (order_byte_long_after_the_trip, hold_that_is_not_saved, hold_that_cancels_nothing)
    ),
    *(
        ("I12", bug)
        for bug in (
            order_on_a_book_out_of_sync, order_on_a_crossed_book, order_on_a_silent_book, order_that_cites_no_book,
        )
    ),
    *(
        ("I13", bug)
        for bug in (
            top_that_the_venue_did_not_have, book_that_the_venue_never_had, book_that_was_old_at_the_venue,
        )
    ),
    *(
        ("I14", bug)
        for bug in (
            torn_state_file, state_file_with_another_mode, state_file_that_goes_back, state_file_that_vanishes,
        )
    ),
    *(
        ("I16", bug)
        for bug in (secret_in_the_log, part_of_a_secret_in_the_ledger, secret_in_base64, secret_in_hex)
    ),
    *(("I17", bug) for bug in (edited_event, removed_event, cut_tail, change_that_nobody_wrote_down)),
    *(
        ("I18", bug)
        for bug in (
            request_weight_above_the_share, request_before_its_retry_after,
            request_after_a_refusal_that_did_not_drip_any_more, ban_of_our_own_doing,
        )
    ),
    *(
        ("I19", bug)
        for bug in (
            hold_that_nobody_explains, drain_without_end, run_that_is_not_well, engine_that_stands_still,
        )
    ),
    *(("I20", bug) for bug in (refused_request_that_changes, read_that_changes, change_for_nobody)),
    ("I21", tasks_that_pile_up),
    ("I22", another_trace_from_the_same_seed),
    *(
        ("I23", bug)
        for bug in (
            resume_by_one_person, approval_after_its_time, approval_of_another_change, approval_used_twice,
            resume_that_nobody_approved,
        )
    ),
    ("I24", hold_that_waits_for_a_dead_disk),
]


@pytest.mark.parametrize(("invariant", "plant"), PLANTED, ids=[bug.__name__ for _, bug in PLANTED])
def test_a_planted_bug_is_caught_and_named(invariant: str, plant: Callable[[Run], None]) -> None:
    run = full_run()
    plant(run)
    violations = check(run.evidence())
    assert {each.invariant for each in violations} == {invariant}, report(violations)


def test_a_refusal_that_came_byte_by_byte_need_not_be_obeyed() -> None:
    """It can't be read; also where the fault began long after it was injected, as one that lets occasions pass does."""
    run = full_run()
    run.venue(1, "fault", UM, fault="drip_body", what="injected", params={"every_s": 1.0, "seconds": 3.0})
    run.venue(5, "fault", UM, fault="drip_body", what="begins", params={"every_s": 1.0, "seconds": 3.0})
    request_before_its_retry_after(run)
    assert check(run.evidence()) == []


def test_a_hold_in_a_hold_may_be_left_right_after() -> None:
    """By whoever did not see it: forty milliseconds later (seed 61)."""
    run = full_run()
    run.set_mode(60, "HOLD", "operator:anna", "lunch")
    run.harness(61, "hold_asked", dead=[])
    run.bot(61.04, "resume", operator="anna", mode="RUN")
    run.set_mode(61.04, "RUN", "operator:anna")
    run.set_mode(70, "HOLD", "operator:anna", "lunch again")
    assert [each for each in check(run.evidence()) if each.invariant == "I24"] == []


def test_there_is_a_planted_bug_for_each_invariant() -> None:
    planted = {invariant for invariant, _ in (*PLANTED_ELSEWHERE, *PLANTED)}
    assert planted == {f"I{number}" for number in range(1, 25)}
