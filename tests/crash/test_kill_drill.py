"""SIGKILL while it trades, the venues in another process with faults on: nothing is lost, nothing is doubled.

After each kill the bot is started again on the same data and must, within 30 s, be trading again unaided with its
ledger equal to the venue, or be in a HOLD whose reason is true. CI runs a bounded part; `tox -e crash` runs the rest:
every crash point, `KILLS` (100) random moments, and kills right after an acknowledged change.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from propbot.kit.crash import CRASH_POINTS
from tests.crash.drill import Drill, check_state_file
from tests.e2e.processes import Bot, running_venues

KILLS = int(os.environ.get("KILLS", "100"))
SEED = int(os.environ.get("KILL_SEED", "7"))
TRADED = sorted(name for name in CRASH_POINTS if not name.startswith(("approval-commit", "secret-swap")))
"""What trading passes by itself; the others' points are met in tests/scenarios, test_two_man.py and test_rotation.py,
in virtual time."""
LIMITS = {"MAX_ORDERS_PER_MIN": "5000", "MAX_DAILY_LOSS_USDT": "100000"}
"""A drill trades all day within minutes; these caps are drilled elsewhere."""


@contextmanager
def drilling(folder: Path, seed: int) -> Iterator[Drill]:
    with running_venues(folder / "venues") as venues:
        bot = Bot(folder / "bot", PAPER_VENUES=str(venues.file), **LIMITS)
        drill = Drill(bot, venues, random.Random(seed))
        try:
            assert drill.start() is None
            yield drill
        finally:
            bot.close()
        print(drill.report())


def kill_at_random_moments(drill: Drill, kills: int) -> None:
    for _ in range(kills):
        drill.strike(faults=drill.rng.randint(0, 3))
        time.sleep(drill.rng.uniform(0.5, 5.0))
        drill.kill()
        drill.recover_and_note()


def kill_at_point(drill: Drill, point: str) -> None:
    """The running life makes way for one that ends by itself at the point's second passage."""
    drill.kill()
    drill.bot.settings["PROPBOT_CRASH_AT"] = f"{point}:2"
    drill.bot.start_unchecked()
    try:
        drill.bot.wait_ended(60)
    finally:
        del drill.bot.settings["PROPBOT_CRASH_AT"]
    drill.look_at_what_is_left()
    drill.recover_and_note()


@pytest.mark.timeout(300)
def test_after_three_kills_with_faults_the_ledger_equals_the_venue_and_it_trades_on(tmp_path: Path) -> None:
    with drilling(tmp_path, SEED) as drill:
        kill_at_random_moments(drill, 3)
        drill.compare()


@pytest.mark.timeout(300)
def test_an_acknowledged_hold_and_an_acknowledged_value_survive_the_kill_right_after(tmp_path: Path) -> None:
    with drilling(tmp_path, SEED) as drill:
        kill_after_acknowledged_changes(drill, 2)
        drill.compare()


def kill_after_acknowledged_changes(drill: Drill, times: int) -> None:
    for number in range(times):
        time.sleep(drill.rng.uniform(0.2, 2.0))
        spread = 1 + number / 100
        answer = drill.bot.control(mode="HOLD", reason=f"drill {number}", min_spread_bps=spread)
        assert answer.status_code == 200, answer.text
        drill.kill()
        assert check_state_file(drill.bot.folder / "data")["mode"] == "HOLD"
        line = drill.start()
        assert line is not None, "an acknowledged HOLD was forgotten"
        assert f"drill {number}" in line
        assert drill.bot.get("/api/ui/control-state")["min_spread_bps"] == spread
        drill.resume()
        assert drill.bot.get("/api/ui/control-state")["min_spread_bps"] == spread


@pytest.mark.crash
@pytest.mark.timeout(7200)
def test_after_many_kills_with_faults_nothing_is_lost_and_most_go_on_unaided(tmp_path: Path) -> None:
    with drilling(tmp_path, SEED) as drill:
        kill_at_random_moments(drill, KILLS)
        drill.compare()
        assert drill.unaided >= drill.kills * 3 // 4, drill.report()


@pytest.mark.crash
@pytest.mark.timeout(3600)
def test_killed_at_every_point_that_trading_passes_nothing_is_lost(tmp_path: Path) -> None:
    with drilling(tmp_path, SEED) as drill:
        for point in TRADED:
            print(point)
            kill_at_point(drill, point)
        drill.compare()


@pytest.mark.crash
@pytest.mark.timeout(1800)
def test_ten_acknowledged_changes_survive_the_kills_right_after(tmp_path: Path) -> None:
    with drilling(tmp_path, SEED) as drill:
        kill_after_acknowledged_changes(drill, 10)
        drill.compare()
