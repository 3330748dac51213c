"""Ledger rows → JSON, and the page they come in. Pure; the same rules as `present`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from propbot.api.present import Json, money, stamp
from propbot.domain.clock import iso_utc
from propbot.domain.events import EventRow
from propbot.domain.lots import FillRow, Lot, OrderRow
from propbot.domain.orders import Side
from propbot.secrets.keyring import SecretRow


def order(row: OrderRow) -> Json:
    asked = row.request
    return {
        "ts": iso_utc(row.created_ns),
        "updated_at": iso_utc(row.updated_ns),
        "venue": asked.venue,
        "symbol": asked.symbol,
        "order_id": row.order_id,
        "client_order_id": asked.client_order_id,
        "intent_id": row.intent_id,
        "lot_id": row.lot_id,
        "purpose": str(asked.purpose),
        "side": str(asked.side),
        "qty": money(asked.qty),
        "limit_price": money(asked.limit_price),
        "time_in_force": str(asked.time_in_force),
        "reduce_only": asked.reduce_only,
        "state": str(row.state),
        "filled_qty": money(row.filled_qty),
        "reason": row.reason,
        "simulated": row.simulated,
    }


def secret(row: SecretRow) -> Json:
    return {"name": row.name, "version": row.version, "ts": stamp(row.ts_ns), "source": str(row.source)}


def fill(row: FillRow) -> Json:
    done = row.fill
    return {
        "ts": iso_utc(done.ts_ms * 1_000_000),
        "venue": done.venue,
        "symbol": done.symbol,
        "order_id": done.order_id,
        "client_order_id": done.client_order_id,
        "trade_id": done.trade_id,
        "side": str(done.side),
        "qty": money(done.qty),
        "price": money(done.price),
        "fee": money(done.fee),
        "fee_asset": done.fee_asset,
        "liquidity": done.liquidity,
        "lot_id": row.lot_id,
        "purpose": str(row.purpose),
        "simulated": row.simulated,
    }


def lot(row: Lot) -> Json:
    legs = ((row.buy_venue, Side.BUY), (row.sell_venue, Side.SELL))
    return {
        "id": row.id,
        "pair": row.pair,
        "state": str(row.state),
        "opened_at": iso_utc(row.opened_ns),
        "closed_at": stamp(row.closed_ns),
        "qty": money(row.qty),
        "legs": [{"venue": venue, "side": str(side), "qty": money(row.qty)} for venue, side in legs],
        "edge_bps": float(row.edge_bps),
        "realised_usdt": money(row.realised),
        "exit_reason": row.exit_reason,
        "simulated": row.simulated,
    }


def event(row: EventRow) -> Json:
    return {
        "id": row.id,
        "ts": iso_utc(row.ts_ns),
        "level": row.level,
        "kind": row.kind,
        "venue": row.venue,
        "symbol": row.symbol,
        "source": row.source,
        "message": row.message,
        "details": dict(row.details),
    }


def page(items: Iterable[Json], next_cursor: str | None) -> Json:
    return {"items": list(items), "next_cursor": next_cursor}


def slice_page(items: Sequence[Json], limit: int, cursor: str | None) -> Json:
    """A page of what is in memory; the cursor is how many came before."""
    start = int(cursor or 0)
    end = start + limit
    return page(items[start:end], str(end) if end < len(items) else None)
