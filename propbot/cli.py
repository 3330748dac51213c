"""argv → settings → the only `trio.run`. Exit codes: 0 ordered stop, 1 bad settings or data, 2 usage, 3 another
instance holds the data directory."""

from __future__ import annotations

import gc
import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path

import click
import msgspec
import trio

from propbot import __version__
from propbot.app import run_service
from propbot.check import run_check
from propbot.compose import Composed, compose, make_source, paper_fees
from propbot.control.checks import Verdict
from propbot.disk_commands import audit, backup, restore
from propbot.domain.errors import DataDirectoryBusy, NotKept, PropBotError, SettingsError
from propbot.kit.crash import CRASH_POINTS
from propbot.kit.disk import check_directory, hold_directory
from propbot.kit.log_output import LogOutput
from propbot.kit.redact import Redactor
from propbot.kit.supervise import describe, leaves
from propbot.logs import set_up_logging
from propbot.people_commands import operators
from propbot.replay.command import ReplayOptions, parse_markets, parse_settings, parse_speed, replay
from propbot.replay.show import show_result, showing_progress
from propbot.serve import ApiServer
from propbot.service import Service
from propbot.settings import Settings, load_settings
from propbot.settings_groups import TRADABLE_VENUES
from propbot.settings_values import parse_market
from propbot.stored_keys import given_secrets
from propbot.venues_command import VenuesOptions, run_venues

BAD_INPUT, BUSY, NOT_KEPT = 1, 3, 4


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="propbot")
def main() -> None:
    """PropBot trades the spread between crypto venues. `propbot run` starts on paper money at once."""


@main.command()
def run() -> None:
    """Run the service until SIGTERM or Ctrl-C."""
    settings = _settings_or_exit()
    redactor = Redactor(given_secrets(settings))
    set_up_logging(settings.house.log_format, settings.house.log_level, redactor)
    _exit_on(check_directory(settings.house.data_dir))
    _run_or_exit(partial(_run_service, settings, redactor), settings.house.data_dir)


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Loopback address to listen on.")
@click.option("--port", default=0, show_default=True, help="First port; the others follow it. 0: any free ones.")
@click.option("--ca-file", type=click.Path(path_type=Path), help="Where the CA certificate goes.")
@click.option("--data-dir", type=click.Path(path_type=Path, file_okay=False), help="Keeps simvenue.db over restarts.")
@click.option("--market", default="synthetic", show_default=True, help="synthetic, or recording:VENUE=FILE,VENUE=FILE.")
@click.option("--trace", type=click.Path(path_type=Path, dir_okay=False), help="JSON lines: frames, orders, replies.")
def venues(
    host: str, port: int, ca_file: Path | None, data_dir: Path | None, market: str, trace: Path | None
) -> None:
    """Run the embedded venues alone. Stdout holds one JSON line: where they listen, and the keys."""
    settings = _settings_or_exit()
    set_up_logging(settings.house.log_format, "WARNING", Redactor(given_secrets(settings)))
    try:
        chosen = parse_market(market, TRADABLE_VENUES)
    except ValueError as error:
        raise click.UsageError(f"--market {market}: {error}") from None
    options = VenuesOptions(host, port, ca_file, data_dir, trace)
    source = partial(make_source, chosen, TRADABLE_VENUES, settings.paper.speed)
    _run_or_exit(
        partial(
            run_venues, options, source, paper_fees(settings), settings.paper.latency_s, random.SystemRandom(),
            lambda line: click.echo(line),
        ),
        data_dir,
    )


@main.command("replay")
@click.option(
    "--market", "markets", multiple=True, required=True, metavar="VENUE=FILE",
    help="A recording and the venue that plays it; once for each venue.",
)
@click.option("--pair", help="The pair to trade, such as BTCUSDT.  [default: what the recordings are of]")
@click.option("--speed", default="max", show_default=True, help="Market seconds a second: max, or a number such as 20.")
@click.option(
    "--set", "assigned", multiple=True, metavar="NAME=VALUE",
    help="A setting. Nothing else counts: no environment, no .env, no stored state.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@click.option(
    "--report", type=click.Path(path_type=Path, file_okay=False),
    help="Folder for ledger.db, simvenue.db, trace.jsonl and report.html.",
)
def replay_command(
    markets: tuple[str, ...], pair: str | None, speed: str, assigned: tuple[str, ...], as_json: bool,
    report: Path | None,
) -> None:
    """Run the whole service over recordings, in virtual time. Exit 1 with file and line on a bad recording."""
    try:
        options = ReplayOptions(
            parse_markets(markets, TRADABLE_VENUES), pair, parse_speed(speed), parse_settings(assigned), report
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    set_up_logging("console", "CRITICAL", Redactor())
    for number in (signal.SIGTERM, signal.SIGHUP):  # like Ctrl-C: its folder is cleared away
        signal.signal(number, signal.default_int_handler)
    try:
        with showing_progress() as tell:
            result = replay(options, tell)
    except (PropBotError, OSError) as error:
        _exit_on(_problems_of(error))
        raise  # unreachable: there is at least one problem
    if as_json:
        click.echo(msgspec.json.encode(result.to_json()).decode())
    else:
        show_result(result, report)


@main.command("simulate")
@click.option("--seed", "seeds", metavar="N", help="The seed to run.  [default: 1]")
@click.option("--seeds", "many", metavar="A..B", help="Many seeds, both ends included.")
@click.option("--hours", default=1.0, show_default=True, help="Virtual hours of trading a seed; fractions too.")
@click.option("--jobs", default=1, show_default=True, help="Processes that run seeds side by side.")
@click.option(
    "--log", type=click.Path(path_type=Path, dir_okay=False),
    help="A JSON line for each seed is appended; seeds that it has already are not run again.",
)
@click.option("--twice", is_flag=True, help="Run each seed in two processes; their traces must be the same.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object for each seed and nothing else.")
def simulate_command(
    seeds: str | None, many: str | None, hours: float, jobs: int, log: Path | None, twice: bool, as_json: bool
) -> None:
    """Trade for hours of virtual time while faults drawn from the seed strike, then check every invariant. Exit 1, and
    the seed, on a violation."""
    from propbot.simulate.command import SimulateOptions, again, describe_seed, parse_seeds, read_log, simulate

    try:
        if seeds is not None and many is not None:
            raise ValueError("--seed and --seeds exclude each other")
        chosen = parse_seeds(many or seeds or "1")
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if not 0.005 <= hours <= 1000 or jobs < 1:
        raise click.UsageError("--hours lies between 0.005 and 1000, --jobs is 1 or more")
    set_up_logging("console", "CRITICAL", Redactor())
    try:
        known = {} if log is None else read_log(log, hours)
        found = [known[seed] for seed in chosen if seed in known]
        for told in simulate(SimulateOptions(chosen, hours, jobs, log, twice)):
            found.append(told)
            click.echo(f"{len(found)}/{len(chosen)} {describe_seed(told)}", err=True)
            if as_json:
                click.echo(msgspec.json.encode(told).decode())
    except (PropBotError, OSError) as error:
        _exit_on(_problems_of(error))
    broken = [told for told in found if told["violations"]]
    for told in broken:
        click.echo(f"propbot: seed {told['seed']} broke what must hold; again: {again(told)}", err=True)
        for story in told["violations"]:
            click.echo(f"  {story}", err=True)
    if broken:
        sys.exit(BAD_INPUT)
    click.echo(f"{len(found)} of {len(chosen)} seeds held every invariant", err=True)


@main.command()
def check() -> None:
    """Check settings and venues without trading; every problem at once. Exit 0 or 1."""
    settings = _settings_or_exit()
    redactor = Redactor(given_secrets(settings))
    set_up_logging(settings.house.log_format, "ERROR", redactor)

    warned = 0

    def say(line: str) -> None:
        nonlocal warned
        warned += line.startswith(Verdict.WARN)
        click.echo(line)

    async def checked() -> None:
        problems = await run_check(settings, say, redactor)
        if problems:
            raise SettingsError(problems)

    _exit_on(check_directory(settings.house.data_dir))
    _run_or_exit(checked, settings.house.data_dir)
    click.echo("all well" if not warned else f"nothing in the way of a start; {warned} warned of above")


@main.command("crash-points")
def crash_points() -> None:
    """List the names that PROPBOT_CRASH_AT takes (for tests; refused in live)."""
    for name, meaning in CRASH_POINTS.items():
        click.echo(f"{name:24} {meaning}")


for command in (audit, backup, operators, restore):
    main.add_command(command)


def _settings_or_exit(environ: Mapping[str, str] | None = None) -> Settings:
    try:
        settings = load_settings(os.environ if environ is None else environ, Path(".env"))
    except SettingsError as error:
        for warning in error.warnings:
            click.echo(f"warning: {warning}", err=True)
        _exit_on(error.problems)
        raise  # unreachable: there is at least one problem
    for warning in settings.warnings:
        click.echo(f"warning: {warning}", err=True)
    return settings


def _exit_on(problems: tuple[str, ...] | list[str]) -> None:
    """Say every problem and leave with 1; nothing if there is none."""
    if problems:
        for problem in problems:
            click.echo(f"propbot: {problem}", err=True)
        sys.exit(BAD_INPUT)


def _run_or_exit(task: Callable[[], Awaitable[None]], data_dir: Path | None) -> None:
    """`trio.run` with our own errors as one line each. What is not ours is a bug and keeps its traceback."""
    try:
        if data_dir is None:
            trio.run(task)
            return
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with hold_directory(data_dir):
            trio.run(task)
    except DataDirectoryBusy as error:
        click.echo(f"propbot: {error}: stop it first, or use another DATA_DIR", err=True)
        sys.exit(BUSY)
    except NotKept as error:
        for line in error.lost:
            click.echo(f"propbot: {line}", err=True)
        sys.exit(NOT_KEPT)
    except (PropBotError, OSError) as error:
        _exit_on(_problems_of(error))
    except BaseExceptionGroup as group:
        found = leaves(group)
        if not all(isinstance(each, (PropBotError, OSError, KeyboardInterrupt)) for each in found):
            raise
        _exit_on([problem for each in found for problem in _problems_of(each)])


def _problems_of(error: BaseException) -> list[str]:
    """What a person reads: our own errors in their own words, the system's without its number."""
    if isinstance(error, SettingsError):
        return list(error.problems)
    if isinstance(error, OSError) and error.strerror:
        return [error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"]
    return [str(error) if isinstance(error, PropBotError) else describe(error)]


async def _run_service(settings: Settings, redactor: Redactor) -> None:
    async with compose(settings, redactor) as composed:
        server = ApiServer(settings.api, partial(_started, settings, composed))
        lost = await run_service(
            composed.config, composed.seams, serve_api=server, market_ended=composed.market_ended, with_signals=True
        )
    if lost:
        raise NotKept(lost)


def _started(settings: Settings, composed: Composed, service: Service, url: str) -> None:
    _banner(settings, composed, service, url)
    gc.freeze()  # what the imports made lives for ever: keep the collector away from it


def _banner(settings: Settings, composed: Composed, service: Service, url: str) -> None:
    off = [
        words for words, is_off in (
            ("authentication (no API_TOKEN; paper on loopback only)", settings.people().open_to_all),
            ("Telegram", settings.telegram.bot_token is None),
        ) if is_off
    ]
    view = service.modes.view
    mode = str(view.mode) if view.hold is None else view.hold.line()
    flags = [name for name, on in (("safe_mode", view.safe_mode), ("dry_run_only", view.dry_run_only)) if on]
    lines = (
        f"PropBot {__version__}",
        f"  profile   {settings.profile}",
        f"  mode      {mode}",
        *([f"  flags     {', '.join(flags)}: on"] if flags else []),
        f"  venues    {', '.join(settings.trading.venues)} ({composed.described}), pair {settings.trading.pair}",
        f"  API       {url}  (status: propbotctl status; OpenAPI: {url}/docs)",
        f"  data      {settings.house.data_dir.resolve()}",
        f"  off       {', '.join(off)}",
        "  stop      Ctrl-C or SIGTERM",
    )
    LogOutput(sys.stdout).write("\n".join(lines) + "\n")  # it trades by now: a full disk must not end it
