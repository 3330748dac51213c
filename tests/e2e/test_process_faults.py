"""FAULTS section 1, rows 50, 59, 60, 62, 63 and 64, on real processes: what virtual time can't show."""

from __future__ import annotations

import json
import resource
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.processes import (
    PROPBOT,
    Bot,
    Venues,
    bot_fill_keys,
    clean_environ,
    free_port,
    running_bot,
    running_venues,
)

EXIT_BAD_INPUT, EXIT_BUSY = 1, 3
BOOK_AGE_S_MAX = 1.5 + 0.5
"""MAX_BOOK_AGE_MS, and the way there and back on a busy machine."""


def overview(bot: Bot) -> dict[str, object]:
    answer: dict[str, object] = bot.get("/api/ui/status/overview")
    return answer


def hold_text(bot: Bot) -> str:
    return json.dumps(overview(bot)["hold"])


def wait_trading(bot: Bot) -> None:
    bot.wait(lambda: len(bot.items("/api/ui/fills")) >= 4, "fills", 60)


def wait_resumed(bot: Bot) -> None:
    """RUN again, and it trades."""
    bot.wait(lambda: bot.control(mode="RUN").status_code == 200, "a resume", 60)
    orders = len(bot.items("/api/ui/orders"))
    bot.wait(lambda: len(bot.items("/api/ui/orders")) > orders, "orders after the resume", 60)


def assert_ledger_equals_venues(bot: Bot, venues: Venues) -> None:
    assert bot.control(mode="HOLD", reason="a quiet moment").status_code == 200
    bot.wait(lambda: overview(bot)["hold"]["cancel"] is not None, "the wind-down")  # type: ignore[index]
    at_venues: set[tuple[str, ...]] = set()
    for name in ("binance-um", "binance-spot"):
        venue = venues.venue(name)
        at_venues |= venue.fill_keys()
        venue.close()
    bot.wait(lambda: bot_fill_keys(bot) == at_venues, "every fill of the venues in the ledger", 30)


# --- 50


def test_50_a_process_that_was_suspended_for_thirty_seconds_sends_nothing_on_what_lay_in_its_sockets(
    tmp_path: Path,
) -> None:
    with running_venues(tmp_path / "venues") as venues, running_bot(tmp_path, PAPER_VENUES=str(venues.file)) as bot:
        wait_trading(bot)
        assert bot.process is not None
        bot.process.send_signal(signal.SIGSTOP)
        time.sleep(30)
        woke_ns = time.monotonic_ns()
        bot.process.send_signal(signal.SIGCONT)
        bot.wait(lambda: overview(bot)["mode"] in ("RUN", "HOLD"), "the API after the pause", 30)
        time.sleep(5)
        rows = venues.log_rows()["rows"]
        assert bot.process.poll() is None
        held = overview(bot)["mode"] == "HOLD"
        if held:
            wait_resumed(bot)
        assert_ledger_equals_venues(bot, venues)
        assert bot.terminate()[0] == 0
        ages = book_ages_s(rows, tmp_path / "data" / "ledger.db", woke_ns)
        assert ages or held, "it went on trading"
        assert all(age < BOOK_AGE_S_MAX for age in ages), ages


def book_ages_s(rows: list[dict[str, object]], ledger: Path, since_ns: int) -> list[float]:
    """How old, by the venues' own log, the books of each opening or closing order were when it arrived."""
    sent_ns = {(row["venue"], row["u"]): row["mono_ns"] for row in rows if row["kind"] == "frame"}
    query = "SELECT o.client_order_id, i.decided_on FROM orders o JOIN intents i ON i.id = o.intent_id" \
        " WHERE o.purpose IN ('open', 'close')"
    with closing(sqlite3.connect(ledger)) as connection:
        decided = {name: json.loads(books) for name, books in connection.execute(query)}
    ages: list[float] = []
    for row in rows:
        books = decided.get(row["client_order_id"]) if row["kind"] == "order" else None
        if books is not None and int(row["mono_ns"]) > since_ns:  # type: ignore[call-overload]
            # a frame that is not in the log any more is older than all that are
            oldest = [int(sent_ns.get((venue, u), 0)) for venue, u in books.items()]  # type: ignore[call-overload]
            ages.append((int(row["mono_ns"]) - min(oldest)) / 1e9)  # type: ignore[call-overload]
    return ages


# --- 60


def test_60_files_that_may_not_grow_any_more_are_a_hold_and_no_crash(tmp_path: Path) -> None:
    with running_venues(tmp_path / "venues") as venues, running_bot(tmp_path, PAPER_VENUES=str(venues.file)) as bot:
        wait_trading(bot)
        assert bot.process is not None
        pid = bot.process.pid
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        bot.wait(lambda: overview(bot)["mode"] == "HOLD", "a HOLD", 30)
        assert "guard:ledger" in hold_text(bot)
        bot.wait(lambda: overview(bot)["hold"]["cancel"] is not None, "the venues' answer to the cancels")  # type: ignore[index]
        assert bot.control(mode="RUN").status_code == 409
        assert bot.get("/api/ui/status/components")["components"]
        resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
        wait_resumed(bot)
        assert_ledger_equals_venues(bot, venues)
        assert bot.terminate()[0] == 0


# --- 59


def test_59_a_second_instance_on_the_same_data_directory_exits_3_and_the_first_one_trades_on(tmp_path: Path) -> None:
    with running_bot(tmp_path) as bot:
        wait_trading(bot)
        second = subprocess.run(
            [*PROPBOT, "run"], cwd=tmp_path, capture_output=True, timeout=60,
            env=clean_environ(DATA_DIR=str(bot.folder / "data"), API_PORT=str(free_port())),
        )  # fmt: skip
        assert second.returncode == EXIT_BUSY
        assert str(bot.process.pid if bot.process else "") in second.stderr.decode()
        orders = len(bot.items("/api/ui/orders"))
        bot.wait(lambda: len(bot.items("/api/ui/orders")) > orders, "more orders", 60)
        assert overview(bot)["mode"] == "RUN"


def test_60_a_log_on_a_full_disk_stops_nothing_and_the_stop_is_in_order(tmp_path: Path) -> None:
    with running_bot(tmp_path, log_to=Path("/dev/full")) as bot:
        wait_trading(bot)
        assert bot.control(mode="HOLD").status_code == 200
        wait_resumed(bot)
        assert bot.process is not None
        bot.process.send_signal(signal.SIGTERM)
        assert bot.process.wait(10) == 0


# --- 62


def test_62_a_damaged_ledger_ends_the_start_with_what_to_do(tmp_path: Path) -> None:
    with running_bot(tmp_path) as bot:
        wait_trading(bot)
        assert bot.terminate()[0] == 0
    path = tmp_path / "data" / "ledger.db"
    whole = bytearray(path.read_bytes())
    whole[4096:4104] = bytes(8)
    path.write_bytes(whole)
    again = subprocess.run(
        [*PROPBOT, "run"], cwd=tmp_path, capture_output=True, timeout=60,
        env=clean_environ(DATA_DIR=str(tmp_path / "data"), API_PORT=str(free_port())),
    )  # fmt: skip
    told = again.stderr.decode()
    assert again.returncode == EXIT_BAD_INPUT, told
    assert "ledger.db" in told
    assert "backup" in told
    assert "Traceback" not in told
    assert path.read_bytes() == whole, "left as it was, for examination"


# --- 63


def test_63_a_ledger_that_somebody_locks_is_a_bounded_wait_and_a_hold(tmp_path: Path) -> None:
    with running_venues(tmp_path / "venues") as venues, running_bot(tmp_path, PAPER_VENUES=str(venues.file)) as bot:
        wait_trading(bot)
        with closing(sqlite3.connect(tmp_path / "data" / "ledger.db", isolation_level=None)) as stranger:
            stranger.execute("BEGIN IMMEDIATE")
            began = time.monotonic()
            bot.wait(lambda: overview(bot)["mode"] == "HOLD", "a HOLD", 10)
            assert time.monotonic() - began < 6, "the busy timeout is two seconds"
            assert "guard:ledger" in hold_text(bot)
            assert bot.control(mode="RUN").status_code == 409
            time.sleep(max(0.0, began + 10 - time.monotonic()))
            stranger.execute("ROLLBACK")
        wait_resumed(bot)
        assert_ledger_equals_venues(bot, venues)
        assert bot.terminate()[0] == 0


# --- 64


@pytest.mark.parametrize("command", ["run", "check"])
@pytest.mark.parametrize("data", ["/proc/sys", "/proc/propbot"], ids=["it is there", "it can't be made"])
def test_64_a_data_directory_that_cannot_be_written_is_refused_by_name(
    tmp_path: Path, data: str, command: str
) -> None:
    """Under /proc nobody makes files, root neither."""
    ended = subprocess.run(
        [*PROPBOT, command], cwd=tmp_path, capture_output=True, timeout=60,
        env=clean_environ(DATA_DIR=data, API_PORT=str(free_port())),
    )  # fmt: skip
    told = ended.stderr.decode()
    assert ended.returncode == EXIT_BAD_INPUT, told
    assert data in told
    assert "Traceback" not in told
