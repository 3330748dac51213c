"""`propbot check`: settings and preflight against the venues, every problem at once, nothing traded."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import trio

from propbot.compose import Composed, compose
from propbot.decision.decide import compute_lot_qty, compute_smallest_qty
from propbot.domain.errors import VenueError
from propbot.domain.instruments import Instrument, VenueId
from propbot.domain.money import amount_text
from propbot.execution.gateway import VenueGateway, open_gateway
from propbot.settings import Settings

SKEW_MS_MAX = 1000.0
Say = Callable[[str], None]


async def run_check(settings: Settings, say: Say) -> list[str]:
    """What is wrong, a line each; `say` hears what was measured. SettingsError for what composing already refuses."""
    problems = check_directory(settings.house.data_dir)
    if problems:
        return problems
    async with compose(settings) as composed:
        instruments: list[Instrument] = []
        mids: list[Decimal] = []
        for venue in composed.config.venues:
            problems += await _check_venue(composed, venue, instruments, mids, say)
        if len(instruments) == len(composed.config.venues) == len(mids):
            problems += _check_size(settings, tuple(instruments), sum(mids, Decimal(0)) / len(mids), say)
    return problems


def check_directory(folder: Path) -> list[str]:
    """Whether the data directory can be written; it is made when it does not exist."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"propbot")
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        return [f"DATA_DIR={folder}: is a file, not a directory"]
    except OSError as error:
        return [f"DATA_DIR={folder}: can't be written: {error.strerror}"]
    return []


async def _check_venue(
    composed: Composed, venue: VenueId, instruments: list[Instrument], mids: list[Decimal], say: Say
) -> list[str]:
    each, seams = composed.config.venues[venue], composed.seams
    symbol = composed.config.settings.trading.pair
    try:
        with trio.fail_after(15):
            async with open_gateway(seams.network, each.endpoints, each.dialect, seams.clock) as gateway:
                return await _measure(gateway, venue, symbol, instruments, mids, say)
    except VenueError as error:
        return [str(error)]
    except trio.TooSlowError:
        return [f"{venue}: no answer within 15 s"]


async def _measure(
    gateway: VenueGateway, venue: VenueId, symbol: str, instruments: list[Instrument], mids: list[Decimal], say: Say
) -> list[str]:
    await gateway.measure_clock()
    instrument = await gateway.instrument(symbol)
    fees = await gateway.fees(symbol)
    depth = await gateway.depth(symbol)
    balances = await gateway.balances()
    offset_ms = gateway.offset_ms
    held = ", ".join(f"{amount_text(balance.total)} {balance.asset}" for balance in balances if balance.total)
    say(
        f"{venue}: {symbol} {instrument.status}, clock {offset_ms or 0:+.0f} ms, taker fee "
        f"{amount_text(fees.taker_bps)} bps, account {held or 'empty'}"
    )
    instruments.append(instrument)
    if depth.bids and depth.asks:
        mids.append((Decimal(depth.bids[0][0]) + Decimal(depth.asks[0][0])) / 2)
    problems = [] if instrument.tradable else [f"{venue}: {symbol} is {instrument.status}"]
    if offset_ms is not None and abs(offset_ms) > SKEW_MS_MAX:
        problems.append(f"{venue}: our clock differs by {offset_ms:+.0f} ms: set it right (NTP)")
    if not (depth.bids and depth.asks):
        problems.append(f"{venue}: the book of {symbol} is empty")
    return problems


def _check_size(settings: Settings, instruments: tuple[Instrument, ...], mid: Decimal, say: Say) -> list[str]:
    smallest = compute_smallest_qty(instruments, mid)
    base, quote = instruments[0].base, instruments[0].quote
    say(f"smallest legal order is {amount_text(smallest)} {base} = {smallest * mid:.0f} {quote}")
    notional = settings.trading.order_notional_usdt
    if compute_lot_qty(notional, mid, instruments) is None:
        return [f"ORDER_NOTIONAL_USDT={amount_text(notional)}: below the smallest legal order, {smallest * mid:.2f}"]
    return []
