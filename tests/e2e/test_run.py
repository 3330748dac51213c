"""The service as a new user starts it: real processes, real sockets, TLS, the embedded venues' signed REST."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from pathlib import Path

import pytest

from tests.e2e.processes import Bot, Venue, Venues, bot_fill_keys, running_bot, running_venues

VENUES = ("binance-um", "binance-spot")
STARTING = {"binance-um": {"USDT": Decimal(100_000)}, "binance-spot": {"USDT": Decimal(100_000), "BTC": Decimal(2)}}


def embedded_venues(bot: Bot) -> list[Venue]:
    access = json.loads((bot.folder / "data" / "simvenue.json").read_text())
    return [Venue(name, access["venues"][name], access["ca_file"]) for name in VENUES]


def assert_identity(bot: Bot, venues: list[Venue]) -> None:
    """Δ quote balances + Σ (base − baseline) × mark = realised + unrealised, at a quiet moment, to 1e-8 a fill.

    The marks move, so both sides are read until the venue's mids were the same before and after.
    """
    for _ in range(200):
        before = [venue.mid() for venue in venues]
        pnl = bot.get("/api/ui/state")["pnl"]
        told = Decimal(pnl["realised"]) + Decimal(pnl["unrealised"])
        held = Decimal(0)
        for venue, mid in zip(venues, before, strict=True):
            balances = venue.balances()
            held += balances["USDT"] - STARTING[venue.name]["USDT"]
            if venue.name == "binance-um":
                qty, _ = venue.position()
                held += venue_unrealised(bot, qty, mid)
            else:
                held += (balances["BTC"] - STARTING[venue.name]["BTC"]) * mid
        if before == [venue.mid() for venue in venues] and abs(told - held) < Decimal("1e-4"):
            fills = len(bot.items("/api/ui/fills"))
            assert abs(told - held) <= Decimal("1e-8") * (1 + fills), (told, held)
            return
        time.sleep(0.02)
    raise AssertionError(f"no quiet moment: bot {told}, venue {held}")


def venue_unrealised(bot: Bot, qty: Decimal, mid: Decimal) -> Decimal:
    """From the fills alone: Σ of what was paid, against the mark."""
    if qty == 0:
        return Decimal(0)
    rows = bot.get("/api/ui/state")["risk"]["positions"]
    avg = next(Decimal(row["avg_price"]) for row in rows if row["venue"] == "binance-um")
    return qty * (mid - avg)


def hold_and_settle(bot: Bot) -> None:
    assert bot.control(mode="HOLD", reason="a quiet moment").status_code == 200
    bot.wait(lambda: bot.get("/api/ui/status/overview")["hold"]["cancel"] is not None, "the wind-down")
    time.sleep(1.0)


def test_paper_trades_at_once_and_its_fills_and_money_are_the_venues(tmp_path: Path) -> None:
    with running_bot(tmp_path) as bot:
        took = bot.wait(lambda: len(bot.closed_lots()) >= 5, "five closed lots", 60)
        print(f"five lots opened and closed after {took:.1f} s")
        hold_and_settle(bot)
        venues = embedded_venues(bot)
        at_venues = set().union(*(venue.fill_keys() for venue in venues))
        assert bot_fill_keys(bot) == at_venues
        assert_identity(bot, venues)
        for venue in venues:
            venue.close()
        code, seconds = bot.terminate()
        assert code == 0
        assert seconds < 5


def test_pause_stops_orders_at_once_resume_trades_on_and_drain_ends_flat(tmp_path: Path) -> None:
    with running_venues(tmp_path / "venues") as venues, running_bot(tmp_path, PAPER_VENUES=str(venues.file)) as bot:
        bot.wait(lambda: len(bot.items("/api/ui/orders")) >= 6, "orders", 60)
        answer = bot.control(mode="HOLD", reason="drill")
        handled_ns = time.monotonic_ns()
        assert answer.status_code == 200
        time.sleep(3)
        late = _opens_and_closes_after(bot, venues, handled_ns + 50_000_000)
        assert late == []
        sent = len(bot.items("/api/ui/orders"))
        bot.wait(lambda: bot.control(mode="RUN").status_code == 200, "a resume")
        bot.wait(lambda: len(bot.items("/api/ui/orders")) > sent, "orders after the resume", 60)
        assert bot.control(mode="DRAIN").status_code == 200
        bot.wait(lambda: bot.get("/api/ui/status/overview")["mode"] == "HOLD", "the end of the drain", 70)
        assert "drained" in json.dumps(bot.get("/api/ui/status/overview")["hold"])
        assert bot.get("/api/ui/state")["risk"]["positions"] == []
        um = venues.venue("binance-um")
        assert um.position()[0] == 0
        um.close()


def _opens_and_closes_after(bot: Bot, venues: Venues, moment_ns: int) -> list[str]:
    purposes = {order["client_order_id"]: order["purpose"] for order in bot.items("/api/ui/orders")}
    rows = venues.log_rows()["rows"]
    return [
        row["client_order_id"] for row in rows
        if row["kind"] == "order" and row["mono_ns"] > moment_ns
        and purposes.get(row["client_order_id"]) in ("open", "close")
    ]


def test_a_foreign_trade_is_a_hold_that_names_venue_symbol_and_quantity(tmp_path: Path) -> None:
    with running_venues(tmp_path / "venues") as venues, running_bot(tmp_path, PAPER_VENUES=str(venues.file)) as bot:
        bot.wait(lambda: len(bot.items("/api/ui/orders")) >= 2, "orders", 60)
        um = venues.venue("binance-um")
        um.market_order("BUY", "0.050")
        um.close()
        bot.wait(lambda: bot.get("/api/ui/status/overview")["mode"] == "HOLD", "a HOLD")
        hold = json.dumps(bot.get("/api/ui/status/overview")["hold"])
        assert "guard:recon" in hold
        assert "binance-um" in hold
        assert "BTCUSDT" in hold
        assert "0.05" in hold
        assert bot.control(mode="RUN").status_code == 409


def test_a_second_instance_on_the_same_data_exits_3(tmp_path: Path) -> None:
    with running_bot(tmp_path) as bot:
        other = Bot(tmp_path, DATA_DIR=str(bot.folder / "data"))
        with pytest.raises(AssertionError, match="the bot ended"):
            other.start()
        assert other.process is not None
        assert other.process.returncode == 3
        other.close()
