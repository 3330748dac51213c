"""Rows of the venues' trace → latencies. Pure; times are `mono_ns`, the machine's monotonic clock.

The benchmark adds rows of its own: kind `tick`, dir `out`, stamped right before the bytes of a tick (or of a whole
burst) are handed to the socket. Kind `order`, dir `in`, is the venues' own: the order had arrived in full.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from attrs import frozen

Row = Mapping[str, Any]


@frozen
class Answered:
    """A tick and what the bot sent because of it; microseconds from the tick to each order, earliest first."""

    sent_ns: int
    latencies_us: tuple[float, ...]

    @property
    def first_us(self) -> float:
        return self.latencies_us[0]

    @property
    def last_us(self) -> float:
        return self.latencies_us[-1]


def answered_ticks(rows: Iterable[Row], *, legs: int) -> tuple[list[Answered], int]:
    """Every tick that was answered by exactly `legs` orders before the next one, and how many were not.

    An order that stands before the first tick answers nothing that was measured, and is left out.
    """
    answered: list[Answered] = []
    missed = 0
    sent_ns: int | None = None
    orders: list[int] = []

    def conclude() -> None:
        nonlocal missed
        if sent_ns is None:
            return
        if len(orders) != legs:
            missed += 1
            return
        answered.append(Answered(sent_ns, tuple((at - sent_ns) / 1000 for at in sorted(orders))))

    for row in sorted(rows, key=lambda row: int(row["mono_ns"])):
        if row["kind"] == "tick":
            conclude()
            sent_ns, orders = int(row["mono_ns"]), []
        elif row["kind"] == "order" and row["dir"] == "in":
            orders.append(int(row["mono_ns"]))
    conclude()
    return answered, missed


def first_order_ns(rows: Iterable[Row], since_ns: int = 0) -> int | None:
    """When the first order at or after `since_ns` had arrived; None if there is none."""
    times = [int(row["mono_ns"]) for row in rows if row["kind"] == "order" and row["dir"] == "in"]
    return min((at for at in times if at >= since_ns), default=None)


def orders_after_us(rows: Iterable[Row], asked_ns: int, client_order_ids: Collection[str]) -> float:
    """How long after `asked_ns` the last of these orders arrived, in microseconds; zero if all came before it."""
    times = [
        int(row["mono_ns"]) for row in rows
        if row["kind"] == "order" and row["dir"] == "in" and row["client_order_id"] in client_order_ids
    ]
    return max(max(times, default=asked_ns) - asked_ns, 0) / 1000


def count_after(rows: Sequence[Row], moment_ns: int, client_order_ids: Collection[str]) -> int:
    """How many of these orders arrived after `moment_ns`."""
    return sum(
        1 for row in rows
        if row["kind"] == "order" and row["dir"] == "in" and row["client_order_id"] in client_order_ids
        and int(row["mono_ns"]) > moment_ns
    )
