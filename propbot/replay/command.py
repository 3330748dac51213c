"""`propbot replay`: options → settings → a run in virtual time → the outputs of DESIGN section 5.

Environment, `.env` and stored state play no part: a replay is what its files and its `--set` make it. It runs in a
folder of its own, and what is to be kept of that goes to the report's folder at the end.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import trio
from attrs import evolve, frozen

from propbot.domain.errors import SettingsError
from propbot.domain.instruments import VenueId
from propbot.kit.supervise import sole_error
from propbot.kit.virtual import jumping_clock, repeatable_scheduling
from propbot.replay.market import Pace, ReplayedMarket
from propbot.replay.result import AtEnd, Counted, ReplayResult
from propbot.replay.trace import open_replay_trace
from propbot.replay.world import ReplayPlan, run_replay
from propbot.settings import Settings, load_settings
from propbot.settings_groups import SECRET_NAMES, known_names
from propbot.settings_values import variable_part
from propbot.simvenue.instruments import INSTRUMENTS
from propbot.simvenue.recording import RecordedMarket, open_recording

LEDGER, VENUE_STORE, TRACE, REPORT = "ledger.db", "simvenue.db", "trace.jsonl", "report.html"
KEPT = (LEDGER, VENUE_STORE, TRACE, REPORT)
DEFAULTS = {
    "BASIS_WARMUP_SEC": "30",  # a replay begins as a stranger to its market, as a start elsewhere than in paper does
    "LEDGER_SYNC": "normal",  # its ledger need not survive a power cut
}

OURS_TO_SET: Mapping[str, str] = {
    "PROFILE": "a replay is always paper",
    "PAPER_MARKET": "name recordings with --market",
    "PAPER_SPEED": "use --speed",
    "PAPER_VENUES": "a replay serves its own venues",
    "LOOP_PAIR": "use --pair",
    "LOOP_VENUES": "the loop's venues are those of --market",
    "DATA_DIR": "use --report to keep what a replay leaves",
    "PROPBOT_CRASH_AT": "a replay is not killed",
}
WITHOUT_MEANING = ("API_", "TELEGRAM_", "TRUSTED_PROXY")


@frozen
class ReplayOptions:
    files: Mapping[VenueId, Path]
    pair: str | None
    """None: the one that the recordings are of."""
    speed: float | None
    """Market seconds a second; None: as fast as it goes."""
    given: Mapping[str, str]
    """`--set NAME=VALUE`."""
    report: Path | None


def replay(options: ReplayOptions, tell: Callable[[float, float], None]) -> ReplayResult:
    """Run it; blocks until it is over. `tell` hears of progress: (share of the files, market seconds).

    SettingsError for options and settings, RecordingError for files, OSError for a folder that can't be used.
    """
    if options.report is not None:
        check_report_folder(options.report)
    recorded = open_recording(options.files)
    settings = replay_settings(options, recorded)
    with _working_folder(options.report) as folder:
        house = settings.house.model_copy(update={"data_dir": folder})
        result = _run(options, recorded, evolve(settings, house=house), tell)
        if options.report is not None:
            _write_report(options, folder, settings, result)
            for name in KEPT:
                os.replace(folder / name, options.report / name)
    return result


def _write_report(options: ReplayOptions, folder: Path, settings: Settings, result: ReplayResult) -> None:
    from propbot.replay.report.head import head_of  # only where a report is wanted: plotly is not imported for less
    from propbot.replay.report.write import write_report

    write_report(folder, result, head_of(settings, options.files, options.given))


def _run(
    options: ReplayOptions, recorded: RecordedMarket, settings: Settings, tell: Callable[[float, float], None]
) -> ReplayResult:
    folder = settings.house.data_dir
    began_s = time.perf_counter()
    pace = (lambda market_s: None) if options.speed is None else Pace(options.speed).keep
    market = ReplayedMarket(recorded, pace, tell)
    with open_replay_trace(folder / TRACE) as trace:
        at_end = _run_virtual(partial(run_replay, ReplayPlan(settings, trace), market))
        sha256 = trace.sha256()
    wall_s = time.perf_counter() - began_s
    return ReplayResult(
        market.frames, recorded.played_s, wall_s, at_end, Counted.in_ledger(folder / LEDGER), sha256
    )


def _run_virtual(task: Callable[[], Awaitable[AtEnd]]) -> AtEnd:
    with repeatable_scheduling():
        try:
            at_end = trio.run(task, clock=jumping_clock())
        except BaseExceptionGroup as group:
            raise sole_error(group) from group
    return at_end


def replay_settings(options: ReplayOptions, recorded: RecordedMarket) -> Settings:
    """The settings that `--set` makes; SettingsError names every problem."""
    problems = [
        f"--set {name}: {why}" for name, why in OURS_TO_SET.items() if name in options.given
    ]
    problems += [
        f"--set {name}: has no meaning in a replay, which talks to nobody"
        for name in options.given if name.startswith(WITHOUT_MEANING) or name in SECRET_NAMES
    ]
    problems += [f"--set {name}: there is no such setting" for name in options.given if not _known(name)]
    pair = _pair(options, recorded, problems)
    given = {name: value for name, value in options.given.items() if name not in OURS_TO_SET}
    loop = {"LOOP_VENUES": ",".join(options.files), **({} if pair is None else {"LOOP_PAIR": pair})}
    try:
        settings = load_settings({**DEFAULTS, **given, **loop}, None)
    except SettingsError as error:
        raise SettingsError([*problems, *error.problems]) from None
    if problems:
        raise SettingsError(problems)
    return settings


def _known(name: str) -> bool:
    fixed, _, part = name.partition("__")
    return name in known_names() or bool(part and variable_part(name, fixed))


def _pair(options: ReplayOptions, recorded: RecordedMarket, problems: list[str]) -> str | None:
    """None where the recordings don't fit together."""
    symbols = dict(recorded.snapshots.keys())
    pair = options.pair or next(iter(symbols.values()))
    found = []
    for venue, symbol in symbols.items():
        listed = [instrument.symbol for instrument in INSTRUMENTS[venue]]
        where = f"--market {venue}={options.files[venue]}: is of {symbol}"
        if symbol not in listed:
            found.append(f"{where}; the venue lists {', '.join(listed)}")
        elif symbol != pair:
            found.append(f"{where}, not of {pair}")
    problems += found
    return None if found else pair


def check_report_folder(folder: Path) -> None:
    """Made where there is none. SettingsError for a data directory, whose ledger is not ours to replace, and for what
    can't be replaced: after the replay would be late to notice."""
    folder.mkdir(parents=True, exist_ok=True)
    blocked = [name for name in (*KEPT, REPORT) if (folder / name).is_dir()]
    if blocked:
        raise SettingsError([f"--report {folder}: {name} in it is a folder, not a report's file" for name in blocked])
    for name in ("runtime_state.json", "instance.lock"):
        if (folder / name).exists():
            raise SettingsError(
                [f"--report {folder}: is a data directory (it has {name}); a report would replace its ledger"]
            )


@contextmanager
def _working_folder(report: Path | None) -> Iterator[Path]:
    """Beside what is kept, so that keeping it is a rename."""
    path = Path(tempfile.mkdtemp(prefix=".propbot-replay-", dir=report))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def parse_markets(texts: Sequence[str], known: Sequence[VenueId]) -> dict[VenueId, Path]:
    """`VENUE=FILE` each, each venue once; ValueError says which is wrong and what is accepted."""
    files: dict[VenueId, Path] = {}
    for text in texts:
        name, _, path = text.partition("=")
        venue = next((each for each in known if each == name), None)
        if venue is None or not path:
            raise ValueError(f"--market {text}: accepted: VENUE=FILE with VENUE one of {', '.join(known)}")
        if venue in files:
            raise ValueError(f"--market {text}: {venue} was named before")
        files[venue] = Path(path)
    return files


def parse_speed(text: str) -> float | None:
    """None for `max`; ValueError says what is accepted."""
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = math.nan
    if not 0.01 <= speed <= 100_000:
        raise ValueError(f"--speed {text}: accepted: max, or market seconds a second from 0.01 to 100000")
    return speed


def parse_settings(texts: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE` each, each name once; ValueError says which is wrong."""
    given: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise ValueError(f"--set {text}: accepted: NAME=VALUE")
        if name in given:
            raise ValueError(f"--set {text}: {name} was set before")
        given[name] = value
    return given
