"""From rows of the venues' trace to latencies."""

from __future__ import annotations

from typing import Any

from tests.bench.trace import answered_ticks, count_after, first_order_ns, orders_after_us


def tick(at_us: int) -> dict[str, Any]:
    return {"mono_ns": at_us * 1000, "kind": "tick", "dir": "out", "client_order_id": None}


def order(at_us: int, name: str = "pb1", direction: str = "in") -> dict[str, Any]:
    return {"mono_ns": at_us * 1000, "kind": "order", "dir": direction, "client_order_id": name}


def test_each_tick_is_answered_by_the_orders_up_to_the_next_tick() -> None:
    answered, missed = answered_ticks([tick(0), order(900), order(700), tick(5000), order(6000), order(6300)], legs=2)
    assert [(each.first_us, each.last_us) for each in answered] == [(700, 900), (1000, 1300)]
    assert missed == 0


def test_rows_may_come_in_any_order() -> None:
    answered, _ = answered_ticks([order(700), order(900), tick(0)], legs=2)
    assert answered[0].latencies_us == (700, 900)


def test_a_tick_with_another_number_of_orders_is_missed_and_gives_no_figure() -> None:
    rows = [tick(0), order(1), tick(10), tick(20), order(21), order(22), tick(30), order(31), order(32), order(33)]
    answered, missed = answered_ticks(rows, legs=2)
    assert [each.sent_ns for each in answered] == [20_000]
    assert missed == 3


def test_orders_before_the_first_tick_answer_nothing() -> None:
    answered, missed = answered_ticks([order(1), order(2), tick(10), order(11), order(12)], legs=2)
    assert len(answered) == 1
    assert missed == 0


def test_the_first_order_is_the_earliest_that_came_in_since() -> None:
    rows = [order(5), order(9, direction="out"), order(30), order(20)]
    assert first_order_ns(rows, 6_000) == 20_000
    assert first_order_ns(rows, 40_000) is None


def test_the_last_order_of_a_hold_counts_from_the_request_and_hedges_do_not_count() -> None:
    rows = [order(100, "open"), order(103, "close"), order(500, "hedge")]
    assert orders_after_us(rows, 101_000, {"open", "close"}) == 2
    assert orders_after_us(rows, 104_000, {"open", "close"}) == 0
    assert count_after(rows, 99_000, {"open", "close"}) == 2
    assert count_after(rows, 101_000, {"open", "close"}) == 1
