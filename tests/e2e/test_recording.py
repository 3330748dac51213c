"""On real input: the recorded BTCUSDT perpetual and spot, played to their end while the service trades on them."""

from __future__ import annotations

import gzip
import json
import os
from decimal import Decimal
from pathlib import Path

import pytest

from tests.e2e.processes import bot_fill_keys, running_bot
from tests.e2e.test_run import embedded_venues

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings" / "binance"
FILES = {
    "binance-um": RECORDINGS / "usdm_btcusdt_20240808.gz", "binance-spot": RECORDINGS / "spot_btcusdt_20240808.gz",
}
SPEED = float(os.environ.get("RECORDING_SPEED", "6"))
"""1 is real time, as the acceptance asks; CI plays it faster."""


def last_ticker(path: Path) -> tuple[Decimal, Decimal]:
    """Best bid and ask as the recording's last book ticker has them."""
    last = ""
    with gzip.open(path, "rt") as lines:
        for line in lines:
            if "bookTicker" in line[:60]:
                last = line
    data = json.loads(last.partition(" ")[2])["data"]
    return Decimal(data["b"]), Decimal(data["a"])


@pytest.mark.timeout(600)
@pytest.mark.skipif(not RECORDINGS.exists(), reason="../shared/recordings is not beside this checkout")
def test_the_recording_is_traded_to_its_end_and_ends_in_a_hold_that_says_so(tmp_path: Path) -> None:
    market = "recording:" + ",".join(f"{venue}={path}" for venue, path in FILES.items())
    settings = {
        "PAPER_MARKET": market, "PAPER_SPEED": f"{SPEED:g}", "TAKER_FEE_BPS": "0", "MIN_SPREAD_BPS": "1.2",
    }
    with running_bot(tmp_path, **settings) as bot:
        bot.wait(lambda: bot.get("/api/ui/status/overview")["mode"] == "HOLD", "the end", 400 / SPEED + 60)
        overview = bot.get("/api/ui/status/overview")
        assert "recording ended" in json.dumps(overview["hold"]), overview["hold"]
        assert len(overview["hold"]["causes"]) == 1, overview["hold"]
        last = {venue: last_ticker(path) for venue, path in FILES.items()}

        def tops() -> dict[str, tuple[Decimal, Decimal]]:
            books = {venue: bot.get("/api/ui/state")["venues"][venue]["book"] for venue in FILES}
            return {venue: (Decimal(book["bid"]), Decimal(book["ask"])) for venue, book in books.items()}

        # the venue has sent its last frame by now; on a busy machine some are still on their way
        bot.wait(lambda: tops() == last, "the last tickers", 60)
        state = bot.get("/api/ui/state")
        for venue in FILES:
            book = state["venues"][venue]["book"]
            assert book["synced"], venue
            assert book["resyncs"] == 0, venue
        closed = bot.closed_lots()
        print(f"{len(closed)} lots closed, {len(bot.items('/api/ui/fills'))} fills, pnl {state['pnl']}")
        assert closed
        venues = embedded_venues(bot)
        assert bot_fill_keys(bot) == set().union(*(venue.fill_keys() for venue in venues))
        for client in venues:
            client.close()
        code, seconds = bot.terminate()
        assert code == 0
        assert seconds < 5
