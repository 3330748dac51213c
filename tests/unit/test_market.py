from __future__ import annotations

import pytest

from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM
from propbot.kit.clock import VirtualClock
from propbot.market import JUMP_S, TradingMarket

VENUES = (BINANCE_UM, BINANCE_SPOT)


@pytest.mark.parametrize(
    ("first", "second", "after_s", "believed"),
    [
        (120_000.0, 120_100.0, 0.1, True),
        (123_000.0, 123_100.0, 0.1, True),  # 2.5 %
        (12_000.0, 12_010.0, 0.1, False),
        (127_000.0, 120_100.0, 0.1, False),
        (120_000.0, 1_201_000.0, 0.1, False),
        (12_000.0, 12_010.0, JUMP_S, False),
        (12_000.0, 12_010.0, JUMP_S + 0.1, True),  # a market that really jumps goes on
    ],
)
async def test_a_price_that_jumps_is_not_believed_for_a_minute(
    first: float, second: float, after_s: float, believed: bool
) -> None:
    market = TradingMarket({}, {}, {}, VirtualClock(0), 1.5)
    assert market.note_mids(VENUES, 120_000.0, 120_100.0, 10.0)
    assert market.note_mids(VENUES, first, second, 10.0 + after_s) is believed


async def test_a_fast_market_is_followed_step_by_step() -> None:
    market = TradingMarket({}, {}, {}, VirtualClock(0), 1.5)
    for step in range(20):
        twice = 120_000.0 * 0.97**step
        assert market.note_mids(VENUES, twice, twice, float(step))
