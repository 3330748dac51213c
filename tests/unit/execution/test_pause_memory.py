"""What an earlier life was told by a venue holds in this one."""

from __future__ import annotations

import pytest
import trio
from attrs import frozen
from trio.testing import MockClock

from propbot.control.counters import Counters
from propbot.domain.errors import Banned
from propbot.domain.instruments import BINANCE_UM
from propbot.execution.pace import VenuePace
from propbot.execution.pause_memory import remember_pauses
from propbot.kit.clock import VirtualClock

NOW_NS = 1_790_000_000_000_000_000


@frozen
class Line:
    pace: VenuePace


def remembered(counters: Counters) -> tuple[VenuePace, list[str]]:
    """A new life with what the last one kept."""
    pace = VenuePace(BINANCE_UM, VirtualClock(NOW_NS))
    pace.clock.wall_ns()
    return pace, remember_pauses({BINANCE_UM: Line(pace)}, counters)


async def test_a_ban_is_kept_and_the_next_life_sits_out_the_rest(autojump_clock: MockClock) -> None:
    counters = Counters()
    pace, told = remembered(counters)
    assert told == []
    pace.pause(418, 100.0)
    assert counters.get("pause:binance-um") == f"418 {NOW_NS + 100_000_000_000} 100"
    again, told = remembered(counters)
    assert "HTTP 418" in told[0]
    with pytest.raises(Banned):
        again.refuse_while_paused()
    await again.wait_unpaused()
    assert trio.current_time() == pytest.approx(100.0)
    again.refuse_while_paused()


async def test_a_longer_pause_replaces_a_shorter_one_and_not_the_other_way(autojump_clock: MockClock) -> None:
    counters = Counters()
    pace, _ = remembered(counters)
    assert pace.pause(429, 10.0)
    assert pace.pause(418, 100.0)
    assert not pace.pause(429, 50.0)
    assert counters.get("pause:binance-um") == f"418 {NOW_NS + 100_000_000_000} 100"


@pytest.mark.parametrize(
    "text",
    [
        "", "418", "418 ", "418 x", "x 1790000100000000000", "418 1790000100000000000 1 1",
        "418 1790000100000000000 0", "418 -5", "418 1.5",
        "500 1790000100000000000", "418 1789999999999999999", "418 1999999999999999999", "418 ١٧٩",
        "4" * 5000 + " 1790000100000000000",
    ],
)  # fmt: skip
async def test_what_is_over_or_nonsense_is_forgotten(text: str) -> None:
    counters = Counters({"pause:binance-um": text})
    pace, told = remembered(counters)
    assert (pace.paused_s, told, counters.get("pause:binance-um")) == (0, [], None)


async def test_a_clock_that_was_an_hour_ahead_makes_no_hour_of_a_pause(autojump_clock: MockClock) -> None:
    hour_ns = 3600 * 10**9
    pace, _ = remembered(Counters({"pause:binance-um": f"429 {NOW_NS + hour_ns + 20 * 10**9} 20"}))
    assert pace.paused_s == 20


async def test_what_an_older_version_kept_is_understood(autojump_clock: MockClock) -> None:
    pace, _ = remembered(Counters({"pause:binance-um": f"418 {NOW_NS + 100_000_000_000}"}))
    assert pace.paused_s == 100


def test_no_other_counter_is_touched() -> None:
    counters = Counters({"day_peak": "1"})
    remember_pauses({}, counters)
    assert counters.all() == {"day_peak": "1"}


