"""The board: since, overall and alerts follow from what was put, and from nothing else."""

from __future__ import annotations

import pytest
from attrs import define

from propbot.domain.mode import Mode
from propbot.domain.status import Health
from propbot.status.board import Board


@define
class HandClock:
    now_ns: int = 1_000

    def wall_ns(self):
        return self.now_ns

    def mono_s(self):
        return self.now_ns / 1e9


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def board(clock):
    return Board(clock)


def test_since_moves_only_when_the_status_does(board, clock):
    board.put("recon", "Recon", "guards", Health.OK, "agrees", {"age_s": 1})
    clock.now_ns = 2_000
    board.put("recon", "Recon", "guards", Health.OK, "agrees still", {"age_s": 2})
    assert (board.component("recon").since_ns, board.component("recon").summary) == (1_000, "agrees still")
    clock.now_ns = 3_000
    board.put("recon", "Recon", "guards", Health.ERROR, "differs")
    assert (board.component("recon").since_ns, board.component("recon").metrics) == (3_000, {})


def test_what_was_put_is_a_copy(board):
    metrics = {"age_s": 1}
    board.put("a", "A", "g", Health.OK, "", metrics)
    metrics["age_s"] = 2
    assert board.component("a").metrics == {"age_s": 1}


def test_components_stay_in_the_order_of_their_first_report(board):
    for name in ("b", "a", "b"):
        board.put(name, name, "g", Health.OK, "")
    assert [component.id for component in board.components()] == ["b", "a"]


def test_an_empty_board_is_ok_outside_of_hold(board):
    assert board.overall(Mode.RUN) is Health.OK
    assert board.overall(Mode.HOLD) is Health.HOLD


@pytest.mark.parametrize(
    ("statuses", "overall"),
    [
        ([Health.OK, Health.WARN], Health.WARN),
        ([Health.ERROR, Health.WARN], Health.ERROR),
        ([Health.HOLD, Health.WARN], Health.ERROR),
        ([Health.OK], Health.OK),
    ],
)
def test_overall_is_the_worst_component_and_hold_is_the_mode_alone(board, statuses, overall):
    for number, status in enumerate(statuses):
        board.put(str(number), "", "g", status, "")
    assert board.overall(Mode.RUN) is overall
    assert board.overall(Mode.DRAIN) is overall
    assert board.overall(Mode.HOLD) is Health.HOLD


def test_overall_names_the_component_that_is_worst_for_the_longest(board, clock):
    board.put("late", "", "g", Health.OK, "")
    board.put("warns", "", "g", Health.WARN, "minor")
    clock.now_ns = 2_000
    board.put("first", "", "g", Health.ERROR, "broke first")
    clock.now_ns = 3_000
    board.put("late", "", "g", Health.ERROR, "broke later")
    told = board.overall_status(Mode.RUN)
    assert (told.status, told.source, told.reason, told.since_ns) == (Health.ERROR, "first", "broke first", 2_000)


def test_alerts_are_the_ailing_components_p0_first(board):
    board.put("telegram", "Telegram", "channels", Health.WARN, "slow")
    board.put("disk", "Disk", "host", Health.ERROR, "full")
    board.put("recon", "Recon", "guards", Health.ERROR, "differs", severity="P0")
    board.put("mode", "Mode", "engine", Health.HOLD, "an operator paused")
    board.put("fine", "Fine", "engine", Health.OK, "")
    assert [(alert.severity, alert.component_id) for alert in board.alerts()] == [
        ("P0", "recon"),
        ("P1", "disk"),
        ("P2", "telegram"),
    ]


def test_a_tripped_p0_guard_in_hold_is_an_alert_and_its_warning_is_no_p0(board):
    board.put("recon", "Recon", "guards", Health.HOLD, "tripped", severity="P0")
    assert [alert.severity for alert in board.alerts()] == ["P0"]
    board.put("recon", "Recon", "guards", Health.WARN, "a foreign order")
    assert [alert.severity for alert in board.alerts()] == ["P2"]
