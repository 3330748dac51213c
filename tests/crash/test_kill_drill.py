"""SIGKILL at random moments while it trades, the venues in another process: nothing is lost, nothing is doubled.

After each kill the bot is started again on the same data and must, within 30 s, be trading again unaided with its
ledger equal to the venue, or be in a HOLD whose reason is true. CI runs three kills; `tox -e crash` runs `KILLS` (20).
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from tests.e2e.processes import Bot, Venues, bot_fill_keys, running_venues

KILLS = int(os.environ.get("KILLS", "20"))
SEED = int(os.environ.get("KILL_SEED", "7"))
RECOVERY_S_MAX = 30.0


@pytest.mark.timeout(300)
def test_after_three_kills_the_ledger_equals_the_venue_and_it_trades_on(tmp_path: Path) -> None:
    drill(tmp_path, 3)


@pytest.mark.crash
@pytest.mark.timeout(3600)
def test_after_many_kills_the_ledger_equals_the_venue_and_it_trades_on(tmp_path: Path) -> None:
    drill(tmp_path, KILLS)


def drill(tmp_path: Path, kills: int) -> None:
    rng = random.Random(SEED)
    unaided, waits, held = 0, [], []
    with running_venues(tmp_path / "venues") as venues:
        bot = Bot(tmp_path / "bot", PAPER_VENUES=str(venues.file))
        try:
            bot.start()
            for number in range(kills):
                time.sleep(rng.uniform(1.0, 8.0))
                bot.kill()
                began = time.monotonic()
                bot.start()
                reason = _recover(bot, began)
                waits.append(time.monotonic() - began)
                if reason is None:
                    unaided += 1
                else:
                    held.append(reason)
                    _let_go_on(bot)
                print(f"kill {number + 1}: {waits[-1]:.1f} s, {reason or 'trading again'}")
            _compare(bot, venues)
        finally:
            bot.close()
    print(f"{unaided} of {kills} unaided, slowest {max(waits):.1f} s, held: {held}")
    assert unaided >= kills * 3 // 4, held


def _recover(bot: Bot, began: float) -> str | None:
    """None once it is in RUN with recon agreeing and has sent something new; else the HOLD's line."""
    opened = len(bot.items("/api/ui/orders"))
    while time.monotonic() - began < RECOVERY_S_MAX:
        overview = bot.get("/api/ui/status/overview")
        if overview["mode"] == "HOLD":
            return str(overview["hold"])
        recon = next((c for c in overview["components"] if c["id"] == "recon"), None)
        if recon is not None and recon["status"] == "OK" and len(bot.items("/api/ui/orders")) > opened:
            return None
        time.sleep(0.1)
    raise AssertionError(f"neither trading nor HOLD after {RECOVERY_S_MAX} s: {bot.log_tail()}")


def _let_go_on(bot: Bot) -> None:
    """What the operator would do: wait for the guards to clear, then resume."""
    bot.wait(lambda: bot.control(mode="RUN").status_code == 200, "a resume", 60)


def _compare(bot: Bot, venues: Venues) -> None:
    """Ledger and venue at a quiet moment: the same fills, the same positions."""
    assert bot.control(mode="HOLD", reason="compare").status_code == 200
    time.sleep(6)
    at_venues = set()
    for name in ("binance-um", "binance-spot"):
        client = venues.venue(name)
        at_venues |= client.fill_keys()
        client.close()
    assert bot_fill_keys(bot) == at_venues
    orders = bot.items("/api/ui/orders")
    ids = [order["client_order_id"] for order in orders]
    assert len(ids) == len(set(ids))
    assert all(order["state"] in ("FILLED", "PARTIAL", "CANCELED", "REJECTED", "NEVER_SENT") for order in orders)
