"""What a world left behind, as evidence for the checker: the ledger straight from SQLite, venues from their engines."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import msgspec

from propbot.domain.instruments import Kind
from propbot.simulate.checker import Evidence, LedgerEnd, Limits, VenueEnd, check, report
from propbot.simulate.world import World
from propbot.simvenue.instruments import STARTING_BALANCES

SYMBOL = "BTCUSDT"
ORDERS_READ_MAX = 1_000_000


def read_ledger(world: World) -> LedgerEnd:
    with closing(sqlite3.connect(world.tmp_path / "bot" / "ledger.db")) as connection:
        connection.row_factory = sqlite3.Row

        def table(name: str) -> list[dict[str, Any]]:
            return [dict(row) for row in connection.execute(f"SELECT * FROM {name}")]  # noqa: S608 (our own names)

        baselines = {(row["venue"], row["asset"]): row["qty"] for row in table("baselines")}
        return LedgerEnd(
            table("intents"), table("orders"), table("fills"), table("lots"), table("funding"), baselines,
            sorted(table("events"), key=lambda row: int(row["id"])),
        )


def read_venue(world: World, venue: str) -> VenueEnd:
    engine = world.engine(venue)
    instrument = next(each for each in engine.instruments() if each.symbol == SYMBOL)
    trades = [
        {
            "client_order_id": t.client_order_id, "order_id": str(t.order_id), "trade_id": str(t.trade_id),
            "symbol": t.symbol, "side": str(t.side), "qty": t.qty, "price": t.price, "fee": t.fee,
            "fee_asset": t.fee_asset, "ts_ms": t.ts_ms,
        }
        for t in engine.trades(SYMBOL, limit=ORDERS_READ_MAX)
    ]
    orders = [
        {"client_order_id": o.request.client_order_id, "status": str(o.status), "filled_qty": o.filled_qty}
        for o in engine.all_orders(SYMBOL, limit=ORDERS_READ_MAX)
    ]
    return VenueEnd(
        kind="perp" if instrument.kind is Kind.PERP else "spot", symbol=SYMBOL, base=instrument.base,
        quote=instrument.quote, starting_balances=dict(STARTING_BALANCES[instrument.venue]),
        balances={asset: free + locked for asset, (free, locked) in engine.balances().items()},
        orders=orders, trades=trades, position=engine.position(SYMBOL)[0],
        fundings=[{"asset": each.asset, "amount": each.amount} for each in engine.fundings(SYMBOL)],
    )


def canaries(world: World) -> dict[str, str]:
    """Every secret that this world's bot was given."""
    assert world.settings is not None
    token = world.settings.api.token
    found = {} if token is None else {"API_TOKEN": token.get_secret_value()}
    for venue, access in world.access.venues.items():
        found |= {f"{venue} key": access.api_key, f"{venue} secret": access.api_secret}
    if world.keyring is not None:
        found |= {f"{each.name} version {each.version}": each.value for each in world.keyring.vault.stored.values()}
    return found


def _written(world: World, more: Mapping[str, Iterable[str]]) -> dict[str, bytes]:
    """All that may not hold a secret: the data directory, the trace, and what the harness heard."""
    found = {path.name: path.read_bytes() for path in sorted((world.tmp_path / "bot").iterdir()) if path.is_file()}
    found["the trace"] = b"\n".join(
        msgspec.json.encode(row, enc_hook=str) for row in world.rows if row["who"] == "bot" or row["kind"] == "fault"
    )
    return found | {where: "\n".join(texts).encode() for where, texts in more.items()}


def evidence(
    world: World, *, quiesced: bool = True, written: Mapping[str, Iterable[str]] = MappingProxyType({})
) -> Evidence:
    """Read after `World.stop_bot`; the ledger is closed then. `written`: what was logged and answered."""
    assert world.settings is not None
    trading, risk = world.settings.trading, world.settings.risk
    limits = Limits(
        order_notional=trading.order_notional_usdt * Decimal("1.05"),
        position_notional=risk.max_position_usdt, total_notional=risk.max_total_notional_usdt,
        open_orders=risk.max_open_orders,
        lot_steps={"binance-um": Decimal("0.001"), "binance-spot": Decimal("0.00001")},
        hedge_deadline_s=world.settings.start.hedge_deadline_s, dust_base=Decimal("0.0001"),
        book_age_s=risk.max_book_age_s,
    )
    return Evidence(
        rows=world.rows, limits=limits, ledger=read_ledger(world),
        venues={venue: read_venue(world, venue) for venue in ("binance-um", "binance-spot")},
        quiesced=quiesced, profile=str(world.settings.profile), hold_exit=str(world.settings.start.hold_exit),
        tops=world.market.tops, canaries=canaries(world), written=_written(world, written),
        two_man=world.settings.start.two_man_rule,
    )


def assert_invariants(world: World, *, quiesced: bool = True) -> Evidence:
    """Every invariant of the checker holds; the evidence, for what a test wants to look at besides."""
    found = evidence(world, quiesced=quiesced)
    violations = check(found)
    assert not violations, report(violations)
    return found


def assert_money_agrees(world: World, realised: Decimal, unrealised: Decimal, marks: dict[str, Decimal]) -> None:
    """Δ quote balances + Σ (base − baseline) × mark = realised + unrealised (DESIGN section 6), from the venues."""
    held = Decimal(0)
    for venue, mark in marks.items():
        end = read_venue(world, venue)
        held += Decimal(end.balances["USDT"]) - Decimal(end.starting_balances["USDT"])
        if end.kind == "spot":
            held += (Decimal(end.balances["BTC"]) - Decimal(end.starting_balances["BTC"])) * mark
        else:
            qty, entry = world.engine(venue).position(SYMBOL)
            held += qty * (mark - entry)
    fills = len(world.of_kind("fill_booked"))
    assert abs(held - (realised + unrealised)) <= Decimal("1e-8") * (1 + fills), (held, realised + unrealised)
