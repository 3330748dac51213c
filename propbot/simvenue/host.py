"""The host of the embedded venues: store, engines, market source, faces and admin port, in one task.

`run_host` is what `propbot run` starts beside the service in paper, what `propbot venues` runs alone, and what a
simulation runs in memory under virtual time; the seams (network, clock, randomness) make the difference.
"""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from decimal import Decimal
from functools import partial
from pathlib import Path

import trio
from attrs import define, field, frozen

from propbot.domain.errors import RecordingError
from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM, Credentials, Fees, Instrument, Kind, VenueId
from propbot.domain.money import BPS, floor_to_step
from propbot.domain.orders import Side
from propbot.kit.net import Network
from propbot.kit.supervise import describe
from propbot.kit.trace import Trace
from propbot.simvenue.access import HostAccess, Inside, VenueAccess
from propbot.simvenue.admin import Admin
from propbot.simvenue.engine import MatchingEngine
from propbot.simvenue.faces.core import Core, venue_clock
from propbot.simvenue.faces.face import Face
from propbot.simvenue.faces.limits import Counters, Limit
from propbot.simvenue.faces.spot import WS_API_PATH as SPOT_WS_API_PATH
from propbot.simvenue.faces.spot import SpotFace
from propbot.simvenue.faces.spot_shapes import LIMITS as SPOT_LIMITS
from propbot.simvenue.faces.um import WS_API_PATH as UM_WS_API_PATH
from propbot.simvenue.faces.um import UmFace
from propbot.simvenue.faces.um_shapes import LIMITS as UM_LIMITS
from propbot.simvenue.faults import FaultBox, FaultError, Params
from propbot.simvenue.funding import run_funding
from propbot.simvenue.instruments import DEFAULT_FEES, INSTRUMENTS, STARTING_BALANCES
from propbot.simvenue.keys import AccountKeys
from propbot.simvenue.records import MarketFrame, MarketSource, NewOrder, Refused, SimTif, SimType
from propbot.simvenue.server import serve
from propbot.simvenue.store import VenueStore, open_store
from propbot.simvenue.tls import ANY_ADDRESS, LOOPBACK, make_keys, make_tls
from propbot.simvenue.trace import VenueTrace, open_venue_trace

__all__ = ["HostAccess", "HostConfig", "Inside", "VenueAccess", "run_host"]

_FLUSH_EVERY_S = 0.2


@frozen
class _Build:
    """What differs between the venues, as far as the host is concerned."""

    face: Callable[[Core], Face]
    ws_api_path: str
    limits: Sequence[Limit]
    fill_gives_back: bool


_BUILDS: Mapping[VenueId, _Build] = {
    BINANCE_UM: _Build(UmFace, UM_WS_API_PATH, UM_LIMITS, fill_gives_back=False),
    BINANCE_SPOT: _Build(SpotFace, SPOT_WS_API_PATH, SPOT_LIMITS, fill_gives_back=True),
}


@frozen
class HostConfig:
    """`latency_s` is one way. `port` is the first venue's, the next ones follow, then the admin's; 0: any. `keys`
    and `limits` are made up, or the venue's own, where they are not given. `more_keys` are good beside those and told
    to nobody."""

    venues: Sequence[VenueId]
    fees: Mapping[VenueId, Fees] = field(factory=dict)
    latency_s: float = 0.005
    host: str = LOOPBACK
    port: int = 0
    keys: Mapping[VenueId, Credentials] = field(factory=dict)
    more_keys: Mapping[VenueId, Credentials] = field(factory=dict)
    limits: Mapping[VenueId, Sequence[Limit]] = field(factory=dict)
    funding_rate: Decimal = Decimal("0.0001")
    trace_file: Path | None = None


@define(eq=False)
class _Venue:
    core: Core
    face: Face
    build: _Build


async def run_host(
    config: HostConfig,
    *,
    network: Network,
    source: MarketSource,
    store_path: Path | None,
    rng: random.Random,
    mono_ns: Callable[[], int],
    trace: Trace,
    tls: bool,
    ca_file: Path | None,
    task_status: trio.TaskStatus[HostAccess] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; `started` once every port listens. At a recording's end frames stop, connections stay,
    and `HostAccess.ended` is set. ValueError for a venue that can't be embedded, RecordingError for a bad recording.
    """
    server_tls = make_tls(config.host, ca_file) if tls else None
    with ExitStack() as opened:
        if store_path is not None:
            store_path.parent.mkdir(parents=True, exist_ok=True)
        store = opened.enter_context(open_store(store_path))
        log = opened.enter_context(open_venue_trace(mono_ns, trace, config.trace_file))
        faults = FaultBox(config.venues, log)
        venues = {venue: _make_venue(config, venue, store, source, rng, faults, log) for venue in config.venues}
        trusted = ca_file if tls else None
        await _serve_all(config, network, source, venues, faults, log, server_tls, trusted, rng, task_status)


def _make_venue(
    config: HostConfig,
    venue: VenueId,
    store: VenueStore,
    source: MarketSource,
    rng: random.Random,
    faults: FaultBox,
    log: VenueTrace,
) -> _Venue:
    if venue not in _BUILDS:
        raise ValueError(f"{venue} can't be embedded; there are {', '.join(_BUILDS)}")
    build = _BUILDS[venue]
    engine = MatchingEngine(
        venue,
        _listed(venue, source),
        config.fees.get(venue, DEFAULT_FEES[venue]),
        store,
        source.wall_ns,
        source.snapshots,
        STARTING_BALANCES[venue],
    )
    wall_ms = venue_clock(venue, engine.now_ms, faults)
    limits = config.limits.get(venue, build.limits)
    keys = AccountKeys(config.keys.get(venue) or make_keys(rng))
    if venue in config.more_keys:
        keys.add(config.more_keys[venue])
    core = Core(
        engine=engine,
        keys=keys,
        counters=Counters(limits, wall_ms, fill_gives_back=build.fill_gives_back),
        faults=faults,
        trace=log,
        rng=rng,
        latency_s=config.latency_s,
        funding_rate=config.funding_rate,
        wall_ms=wall_ms,
    )
    made = _Venue(core, build.face(core), build)
    faults.on(venue, "foreign_trade", partial(_foreign_trade, core))
    faults.on(venue, "refuse_connections", partial(_refuse_connections, made))
    faults.on(venue, "foreign_order", partial(_foreign_order, core))
    faults.on(venue, "symbol_status", partial(_change_symbol, core))
    faults.on(venue, "change_filters", partial(_change_symbol, core))
    faults.on(venue, "position_mode", partial(_change_position_mode, core))
    faults.on(venue, "adjust_account", partial(_adjust_account, core))
    faults.on(venue, "liquidation", partial(_liquidate, core))
    faults.on(venue, "kick_1008", lambda _: made.face.kick_all())
    engine.take_fees_in(lambda: faults.lasting(venue, "fee_asset"))
    return made


def _listed(venue: VenueId, source: MarketSource) -> list[Instrument]:
    """The instruments that the market has a book for."""
    symbols = [symbol for at, symbol in source.snapshots if at == venue]
    listed = [instrument for instrument in INSTRUMENTS[venue] if instrument.symbol in symbols]
    if not listed:
        known = ", ".join(instrument.symbol for instrument in INSTRUMENTS[venue])
        raise RecordingError(f"{venue}: the market has {', '.join(symbols) or 'no book'}, the venue lists {known}")
    return listed


async def _serve_all(
    config: HostConfig,
    network: Network,
    source: MarketSource,
    venues: Mapping[VenueId, _Venue],
    faults: FaultBox,
    log: VenueTrace,
    tls: ssl.SSLContext | None,
    ca_file: Path | None,
    rng: random.Random,
    task_status: trio.TaskStatus[HostAccess],
) -> None:
    ended = trio.Event()
    keys = {venue: made.core.keys for venue, made in venues.items()}
    admin = Admin(faults, log, ended.is_set, keys, partial(make_keys, rng))
    async with trio.open_nursery() as nursery:
        accesses: dict[VenueId, VenueAccess] = {}
        for index, (venue, made) in enumerate(venues.items()):
            wanted = config.port + index if config.port else 0
            port: int = await nursery.start(partial(_serve_venue, config, network, made, wanted, tls, log))
            accesses[venue] = _access(config, made, port, tls is not None)
            nursery.start_soon(made.face.run)
        wanted = config.port + len(venues) if config.port else 0
        admin_port: int = await nursery.start(partial(_serve_admin, network, admin, wanted, log))
        nursery.start_soon(_run_market, source, venues, ended)
        nursery.start_soon(run_funding, [made.core for made in venues.values()])
        if config.trace_file is not None:
            nursery.start_soon(_run_flush, log)
        inside = Inside({venue: made.core.engine for venue, made in venues.items()}, faults, log, keys)
        task_status.started(HostAccess(ca_file, f"http://{LOOPBACK}:{admin_port}", accesses, ended, inside))


async def _serve_venue(
    config: HostConfig,
    network: Network,
    made: _Venue,
    port: int,
    tls: ssl.SSLContext | None,
    log: VenueTrace,
    *,
    task_status: trio.TaskStatus[int],
) -> None:
    venue, faults = made.core.venue, made.core.faults

    def failed(error: BaseException) -> None:
        log.row(venue, "in", "note", text=f"a connection failed: {describe(error)}")

    await serve(
        network,
        config.host,
        port,
        tls=tls,
        answer=made.face.answer,
        talk=made.face.talk,
        admits=lambda: faults.lasting(venue, "refuse_connections") is None,
        swallows=lambda: faults.lasting(venue, "blackhole", occasion=False) is not None,
        mono_ns=log.mono_ns,
        on_error=failed,
        task_status=task_status,
    )


async def _serve_admin(
    network: Network, admin: Admin, port: int, log: VenueTrace, *, task_status: trio.TaskStatus[int]
) -> None:
    await serve(
        network,
        LOOPBACK,
        port,
        tls=None,
        answer=admin.answer,
        talk=None,
        admits=lambda: True,
        mono_ns=log.mono_ns,
        on_error=lambda error: log.row("", "in", "note", text=f"an admin connection failed: {describe(error)}"),
        task_status=task_status,
    )


def _access(config: HostConfig, made: _Venue, port: int, tls: bool) -> VenueAccess:
    host = LOOPBACK if config.host == ANY_ADDRESS else config.host
    at, keys = f"{host}:{port}", made.core.keys.first
    rest, ws = (f"https://{at}", f"wss://{at}") if tls else (f"http://{at}", f"ws://{at}")
    return VenueAccess(rest, ws, ws + made.build.ws_api_path, keys.api_key, keys.api_secret)


async def _run_market(source: MarketSource, venues: Mapping[VenueId, _Venue], ended: trio.Event) -> None:
    def publish(frame: MarketFrame) -> None:
        made = venues.get(frame.venue)
        if made is not None:
            made.core.engine.on_market(frame)
            made.face.publish(frame)

    await source.run(publish)
    ended.set()


async def _run_flush(log: VenueTrace) -> None:
    while True:
        await trio.sleep(_FLUSH_EVERY_S)
        log.flush()


def _foreign_trade(core: Core, params: Params) -> None:
    symbol = params["symbol"] or core.engine.instruments()[0].symbol
    try:
        core.engine.foreign_trade(symbol, params["side"], params["qty"])
    except Refused as refused:
        raise FaultError("params", f"the venue refuses it: {refused}") from None


def _foreign_order(core: Core, params: Params) -> None:
    instrument = core.instrument(params["symbol"] or core.engine.instruments()[0].symbol)
    away = 1 - params["side"].sign * Decimal(str(params["away_bps"])) * BPS
    price = floor_to_step(core.engine.mark_price(instrument.symbol) * away, instrument.tick_size)
    asked = NewOrder(
        f"web_{core.make_id(12)}", instrument.symbol, params["side"], SimType.LIMIT, SimTif.GTC, params["qty"], price
    )
    try:
        core.engine.place(asked)
    except Refused as refused:
        raise FaultError("params", f"the venue refuses it: {refused}") from None


def _change_symbol(core: Core, params: Params) -> None:
    symbol = params["symbol"] or core.engine.instruments()[0].symbol
    core.engine.change(symbol, **{name: value for name, value in params.items() if name != "symbol" and value})


def _change_position_mode(core: Core, params: Params) -> None:
    if all(instrument.kind is not Kind.PERP for instrument in core.engine.instruments()):
        raise FaultError("venue", f"{core.venue} has no positions")
    core.dual_side = params["dual"]


def _adjust_account(core: Core, params: Params) -> None:
    core.engine.adjust(params["asset"], params["amount"])


def _liquidate(core: Core, params: Params) -> None:
    symbol = params["symbol"] or core.engine.instruments()[0].symbol
    qty, _ = core.engine.position(symbol)
    if not qty:
        raise FaultError("fault", f"there is no position of {symbol} to liquidate")
    name = "adl_autoclose" if params["adl"] else f"autoclose-{core.engine.now_ms()}"
    try:
        core.engine.foreign_trade(symbol, Side.SELL if qty > 0 else Side.BUY, abs(qty), name)
    except Refused as refused:
        raise FaultError("fault", f"the venue refuses it: {refused}") from None


def _refuse_connections(made: _Venue, params: Params) -> None:
    if params["cut"]:
        made.face.cut_all()
