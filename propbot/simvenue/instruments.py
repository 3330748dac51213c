"""What the embedded venues list, charge and hand out to a new account. Filters as the real venues have them."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM, Fees, Instrument, Kind, VenueId

PERP_BTCUSDT = Instrument(
    venue=BINANCE_UM,
    symbol="BTCUSDT",
    kind=Kind.PERP,
    base="BTC",
    quote="USDT",
    tick_size=Decimal("0.10"),
    lot_step=Decimal("0.001"),
    qty_min=Decimal("0.001"),
    qty_max=Decimal(1000),
    notional_min=Decimal(100),
)

SPOT_BTCUSDT = Instrument(
    venue=BINANCE_SPOT,
    symbol="BTCUSDT",
    kind=Kind.SPOT,
    base="BTC",
    quote="USDT",
    tick_size=Decimal("0.01"),
    lot_step=Decimal("0.00001"),
    qty_min=Decimal("0.00001"),
    qty_max=Decimal(9000),
    notional_min=Decimal(5),
)

INSTRUMENTS: Mapping[VenueId, tuple[Instrument, ...]] = {
    BINANCE_UM: (PERP_BTCUSDT,),
    BINANCE_SPOT: (SPOT_BTCUSDT,),
}

DEFAULT_FEES: Mapping[VenueId, Fees] = {
    BINANCE_UM: Fees(maker_bps=Decimal(0), taker_bps=Decimal("1.7")),
    BINANCE_SPOT: Fees(maker_bps=Decimal(1), taker_bps=Decimal(2)),
}
"""A professional tier (DESIGN section 5)."""

STARTING_BALANCES: Mapping[VenueId, Mapping[str, Decimal]] = {
    BINANCE_UM: {"USDT": Decimal(100_000)},
    BINANCE_SPOT: {"USDT": Decimal(100_000), "BTC": Decimal(2)},
}
