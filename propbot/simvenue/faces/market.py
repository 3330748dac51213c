"""Public questions that both venues answer alike, each under its own paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import trio

from propbot.domain.instruments import Instrument
from propbot.domain.market import DepthSnapshot, TopOfBook
from propbot.simvenue.faces.core import Core
from propbot.simvenue.faces.errors import ApiError
from propbot.simvenue.faces.params import Params


async def ping(_: object) -> Any:
    return {}


def depth_of(core: Core, params: Params, most: int) -> DepthSnapshot:
    return core.engine.depth(core.instrument(params.text("symbol")).symbol, params.limit(100, most))


async def delay_snapshot(core: Core) -> None:
    """Fault delayed_snapshot: what was read of the book is told later."""
    delayed = core.faults.strike(core.venue, "delayed_snapshot")
    if delayed is not None:
        await trio.sleep(delayed["seconds"])


def depth_weight(steps: Sequence[tuple[int, int]]) -> Any:
    """Weight by `limit`: the first step whose bound is not below it."""

    def weight(params: Params) -> int:
        asked = params.limit(100, steps[-1][0])
        return next(cost for bound, cost in steps if asked <= bound)

    return weight


def levels(snapshot: DepthSnapshot) -> Mapping[str, Any]:
    return {"bids": snapshot.bids, "asks": snapshot.asks}


def chosen(core: Core, params: Params) -> tuple[Sequence[Instrument], bool]:
    """The instruments that `symbol` or `symbols` means, and whether it is a single one."""
    symbol, symbols = params.get("symbol"), params.get("symbols")
    if symbol is not None:
        return (core.instrument(symbol),), True
    if symbols is None:
        return core.engine.instruments(), False
    names = [name.strip(' "') for name in symbols.strip("[] ").split(",")]
    return [core.instrument(name) for name in names], False


def top_of(core: Core, instrument: Instrument) -> TopOfBook:
    top = core.engine.top(instrument.symbol)
    if top is None:
        raise ApiError(503, None, "Service Unavailable.")
    return top


def last_price(core: Core, instrument: Instrument) -> Decimal:
    """The last public trade's, or the mid before there was one."""
    price = core.engine.last_trade_price(instrument.symbol)
    return core.engine.mark_price(instrument.symbol) if price is None else price
