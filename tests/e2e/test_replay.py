"""`propbot replay` on real input: what it trades, that it is the same each time, and what it says of bad files."""

from __future__ import annotations

import gzip
import json
import signal
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from tests.e2e.replays import (
    FILES,
    MISSING,
    RECORDINGS,
    Replayed,
    assigned,
    cut_recordings,
    plain,
    replayed,
    run_replay,
    shared_folder,
    shared_replays,
    started_replay,
)

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(not RECORDINGS.exists(), reason=MISSING),
]
BASE = {"TAKER_FEE_BPS": "0", "MIN_SPREAD_BPS": "1.2"}
Replay = Callable[..., Replayed]


@pytest.fixture
def replay(tmp_path_factory: pytest.TempPathFactory) -> Replay:
    return shared_replays(shared_folder(tmp_path_factory))


@pytest.fixture
def base(replay: Replay) -> Replayed:
    return replay("base", **BASE)


def test_the_recorded_pair_is_traded_and_lots_are_closed(base: Replayed) -> None:
    told = base.told
    assert 5 <= told["spreads_opened"] <= 400, told
    assert told["spreads_open"] == told["spreads_opened"] - told["spreads_closed"] <= 3, told
    assert told["frames"] == 135_201
    assert told["market_s"] == pytest.approx(346.062, abs=0.01)
    for venue, book in told["books"].items():
        assert book["synced"], venue
        assert book["resyncs"] == 0, venue
    assert told["intents"] == len(base.rows("ledger.db", "SELECT 1 FROM intents"))
    assert told["orders"] == len(base.rows("ledger.db", "SELECT 1 FROM orders"))
    assert told["fills"] == len(base.rows("ledger.db", "SELECT 1 FROM fills"))


def test_its_fills_are_those_of_the_venues(base: Replayed) -> None:
    columns = "venue, symbol, order_id, trade_id, side, qty, price, fee, fee_asset"
    booked, at_venues = (
        sorted(
            (venue, symbol, str(order_id), str(trade_id), side, plain(qty), plain(price), plain(fee), asset)
            for venue, symbol, order_id, trade_id, side, qty, price, fee, asset
            in base.rows(database, f"SELECT {columns} FROM {table}")
        )
        for database, table in (("ledger.db", "fills"), ("simvenue.db", "trades"))
    )
    assert booked
    assert booked == at_venues


@pytest.mark.parametrize("name", ["base", "fees"])
def test_its_profit_is_what_the_venues_accounts_gained(replay: Replay, name: str) -> None:
    """Δ quote + Σ (base − baseline) × mark = realised + unrealised, to 1e-8 (DESIGN section 6)."""
    done = replay(name, **(BASE if name == "base" else FEES))
    started = {("binance-um", "USDT"): 100_000, ("binance-spot", "USDT"): 100_000, ("binance-spot", "BTC"): 2}
    marks = {
        venue: (Decimal(book["bid"]) + Decimal(book["ask"])) / 2 for venue, book in done.told["books"].items()
    }
    gained = Decimal(0)
    for venue, asset, total in done.rows("simvenue.db", "SELECT venue, asset, total FROM balances"):
        change = Decimal(total) - started[(venue, asset)]
        gained += change * marks[venue] if asset == "BTC" else change
    for venue, qty, cost in done.rows("simvenue.db", "SELECT venue, qty, cost FROM positions"):
        gained += Decimal(qty) * marks[venue] - Decimal(cost)
    assert abs(Decimal(done.told["pnl_usdt"]) - gained) <= Decimal("1e-8")


@pytest.mark.parametrize(("venue", "common"), [("binance-um", 629), ("binance-spot", 564)])
def test_depth_and_ticker_say_the_same_of_the_best_prices(base: Replayed, venue: str, common: int) -> None:
    """The recorded book tickers judge the book that was made of the recorded diffs, wherever both speak of one id."""
    tops: dict[str, dict[int, tuple[Decimal, Decimal]]] = {"depth": {}, "ticker": {}}
    for row in base.trace("top"):
        if row["venue"] == venue:
            tops[row["src"]][row["u"]] = (Decimal(row["bid"]), Decimal(row["ask"]))
    recorded = recorded_tickers(FILES[venue])
    assert tops["ticker"] == recorded
    at_both = tops["depth"].keys() & recorded.keys()
    assert len(at_both) == common
    assert [u for u in at_both if tops["depth"][u] != recorded[u]] == []


def recorded_tickers(path: Path) -> dict[int, tuple[Decimal, Decimal]]:
    """Read by hand, by update id."""
    found: dict[int, tuple[Decimal, Decimal]] = {}
    with gzip.open(path, "rt") as lines:
        for line in lines:
            if "@bookTicker" in line[:80]:
                ticker = json.loads(line.partition(" ")[2])["data"]
                found[ticker["u"]] = (Decimal(ticker["b"]), Decimal(ticker["a"]))
    return found


def test_two_processes_leave_the_same_trace(base: Replayed, tmp_path: Path) -> None:
    again = replayed(tmp_path, FILES, BASE, PYTHONHASHSEED="4711")
    assert again.told["trace_sha256"] == base.told["trace_sha256"] == base.trace_hash() == again.trace_hash()
    same = base.told.keys() - {"wall_s"}
    assert {name: again.told[name] for name in same} == {name: base.told[name] for name in same}


@pytest.mark.thorough
def test_another_threshold_another_environment_and_another_pace(tmp_path: Path) -> None:
    """The first changes the trace; what stands in the environment, and how fast it is played, change nothing."""
    files = cut_recordings(tmp_path / "cut", 45)
    quick = replayed(tmp_path / "a", files, {**BASE, "BASIS_WARMUP_SEC": "5"})
    other = replayed(tmp_path / "b", files, {**BASE, "BASIS_WARMUP_SEC": "5", "MIN_SPREAD_BPS": "1.3"})
    assert other.told["trace_sha256"] != quick.told["trace_sha256"]
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / ".env").write_text("MIN_SPREAD_BPS=9\n")
    options = (*assigned({**BASE, "BASIS_WARMUP_SEC": "5"}), "--speed", "9")
    paced = run_replay(tmp_path / "c", files, *options, ORDER_NOTIONAL_USDT="99", PROFILE="live")
    assert paced.returncode == 0, paced.stderr
    told = json.loads(paced.stdout)
    assert told["trace_sha256"] == quick.told["trace_sha256"]
    assert told["wall_s"] >= 45 / 9 - 0.1


@pytest.mark.thorough
def test_without_latency_it_earns(replay: Replay) -> None:
    done = replay("no-latency", **BASE, PAPER_LATENCY_MS="0")
    assert Decimal(done.told["pnl_usdt"]) > 0


@pytest.mark.thorough
def test_a_constant_discount_is_no_profit(replay: Replay, base: Replayed) -> None:
    """With a reference of zero the perpetual's usual discount looks like an edge: lots open and do not come back."""
    done = replay("zero", **BASE, REFERENCE="zero")
    assert done.told["trace_sha256"] != base.told["trace_sha256"]
    assert Decimal(done.told["pnl_usdt"]) < Decimal(base.told["pnl_usdt"])
    assert done.told["spreads_open"] > base.told["spreads_open"]
    references = {row["reference_bps"] for row in base.trace("sample")} - {None}
    assert min(references) > 2, "the basis, spot over perpetual, follows the discount"


FEES = {"TAKER_FEE_BPS": "0.75", "MIN_SPREAD_BPS": "0.5", "EXPECTED_SLIPPAGE_BPS": "0"}


def test_fees_of_three_quarters_of_a_basis_point_leave_fewer_trades(replay: Replay, base: Replayed) -> None:
    done = replay("fees", **FEES)
    assert 0 < done.told["spreads_opened"] < base.told["spreads_opened"]
    assert Decimal(done.told["fees_usdt"]) > 0


@pytest.mark.thorough
def test_real_fees_leave_none(replay: Replay) -> None:
    done = replay("real", TAKER_FEE_BPS__BINANCE_UM="5", TAKER_FEE_BPS__BINANCE_SPOT="10")
    assert done.told["spreads_opened"] == done.told["orders"] == 0
    assert Decimal(done.told["pnl_usdt"]) == 0


# --- what can be wrong


def damaged(path: Path, kind: str) -> tuple[Path, str]:
    """A recording that is wrong in its middle, and what has to be said of it."""
    whole = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    if kind == "cut off":
        packed = gzip.compress(b"".join(whole))
        path.write_bytes(packed[: len(packed) // 2])
        return path, "ended before the end-of-stream marker"
    wrong, said = {
        "no number": (b"yesterday {}\n", "line 200: not `<receive time, ns> <JSON>`"),
        "no JSON": (whole[199][:60] + b"\n", "line 200: "),
        "out of order": (whole[10], "line 200: received before the line above it"),
        "not a price": (whole[199].replace(b'"b":"6', b'"b":"x6').replace(b'[["6', b'[["x6'), "line 200: "),
    }[kind]
    path.write_bytes(gzip.compress(b"".join([*whole[:199], wrong, *whole[200:]])))
    return path, said


@pytest.mark.parametrize("kind", ["cut off", "no number", "no JSON", "out of order", "not a price"])
def test_a_bad_recording_is_named_with_its_line(tmp_path: Path, kind: str) -> None:
    files = cut_recordings(tmp_path / "cut", 3)
    path, said = damaged(files["binance-um"], kind)
    done = run_replay(tmp_path, files)
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    assert f"{path}: line " in done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "report").iterdir()) == [], "nothing half done is left"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_that_is_stopped_leaves_nothing_behind(tmp_path: Path, number: int) -> None:
    files = cut_recordings(tmp_path / "cut", 30)
    with started_replay(tmp_path, files, "--speed", "1") as process:
        folder = tmp_path / "report"
        waited_s = 0.0
        while not list(folder.glob(".propbot-replay-*/trace.jsonl")):
            time.sleep(0.05)
            waited_s += 0.05
            assert waited_s < 30, "it never began"
        process.send_signal(number)
        assert process.wait(20) == 1
        assert list(folder.iterdir()) == []


def test_a_report_never_replaces_the_ledger_of_a_service(tmp_path: Path) -> None:
    report = tmp_path / "report"
    report.mkdir()
    (report / "runtime_state.json").write_text("{}")
    (report / "ledger.db").write_text("precious")
    done = run_replay(tmp_path, FILES)
    assert done.returncode == 1
    assert "is a data directory" in done.stderr
    assert (report / "ledger.db").read_text() == "precious"


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--set", "MIN_SPREAD_BPS=abc"), 1, "MIN_SPREAD_BPS=abc: accepted: 0 to 100"),
        (("--set", "NO_SUCH=1"), 1, "--set NO_SUCH: there is no such setting"),
        (("--set", "PROFILE=live"), 1, "--set PROFILE: a replay is always paper"),
        (("--set", "API_PORT=1"), 1, "--set API_PORT: has no meaning in a replay"),
        (("--set", "BINANCE_UM_API_KEY=x"), 1, "--set BINANCE_UM_API_KEY: has no meaning in a replay"),
        (("--pair", "ETHUSDT"), 1, "is of BTCUSDT, not of ETHUSDT"),
        (("--set", "MIN_SPREAD_BPS"), 2, "accepted: NAME=VALUE"),
        (("--set", "A=1", "--set", "A=2"), 2, "A was set before"),
        (("--speed", "slow"), 2, "--speed slow: accepted: max, or"),
        (("--market", "binance-um=again"), 2, "binance-um was named before"),
        (("--market", "nowhere=x"), 2, "VENUE one of binance-um, binance-spot"),
    ],
)
def test_wrong_options_are_named(tmp_path: Path, options: tuple[str, ...], code: int, said: str) -> None:
    done = run_replay(tmp_path, FILES, *options)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert done.stdout == ""


def test_a_file_under_the_wrong_venue_is_refused(tmp_path: Path) -> None:
    done = run_replay(tmp_path, {"binance-spot": FILES["binance-um"]})
    assert done.returncode == 1
    assert "line 1: depth: `pu` is there: no recording of binance-spot" in done.stderr
    done = run_replay(tmp_path, {"binance-um": tmp_path / "absent.gz"})
    assert done.returncode == 1
    assert "absent.gz: No such file" in done.stderr
