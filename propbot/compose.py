"""From settings to seams and venues: the one place, beside `simvenue/`, where the paper profile is another thing.

In paper the venues are embedded (served by this process) or run by `propbot venues` in another one; elsewhere they are
the real ones. The service that runs on top is the same.
"""

from __future__ import annotations

import os
import random
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio
from attrs import frozen

from propbot.domain.clock import Clock
from propbot.domain.errors import SettingsError
from propbot.domain.instruments import Credentials, Endpoints, Fees, VenueId
from propbot.domain.mode import Profile
from propbot.kit.clock import OffsetClock, SystemClock
from propbot.kit.crash import CrashPoints
from propbot.kit.disk import open_sqlite
from propbot.kit.net import TcpNetwork
from propbot.kit.redact import Redactor
from propbot.kit.threads import open_thread_worker
from propbot.kit.trace import no_trace
from propbot.kit.ws_clients import WS_CLIENTS
from propbot.seams import Seams, ServiceConfig, VenueConfig
from propbot.secrets.keyring import Keyring
from propbot.secrets.vault import Vault
from propbot.settings import Settings
from propbot.settings_groups import TRADABLE_VENUES
from propbot.settings_values import PaperMarket, RecordingMarket
from propbot.simvenue.host import HostAccess, HostConfig, run_host
from propbot.simvenue.instruments import DEFAULT_FEES
from propbot.simvenue.recording import open_recording
from propbot.simvenue.records import MarketSource
from propbot.simvenue.synthetic import SyntheticMarket
from propbot.stored_keys import NO_KEY, all_secrets, load_vault, make_keyring
from propbot.venues.endpoints import endpoints
from propbot.venues.registry import make_dialect, rest_credential_names

SYNTHETIC_SEED = 20_261_123


@frozen
class Composed:
    """What `run_service` takes, and when the market that we serve ourselves has come to its end (None: never)."""

    config: ServiceConfig
    seams: Seams
    market_ended: trio.Event | None
    described: str


def make_source(market: PaperMarket, venues: tuple[VenueId, ...], speed: float) -> MarketSource:
    """RecordingError for a recording that can't be used."""
    if isinstance(market, RecordingMarket):
        return open_recording({venue: market.files[venue] for venue in venues}, speed)
    return SyntheticMarket(venues, SYNTHETIC_SEED, time.time_ns)


def paper_fees(settings: Settings) -> dict[VenueId, Fees]:
    return {venue: settings.paper.fees_of(venue, DEFAULT_FEES[venue]) for venue in TRADABLE_VENUES}


@asynccontextmanager
async def compose(settings: Settings, redactor: Redactor | None = None) -> AsyncIterator[Composed]:
    """Everything outside of the service; the embedded venues live until this closes, so that a wind-down can still
    reach them. SettingsError for what only shows now. `redactor` is the log's, and hears of every secret."""
    vault, redactor = load_vault(settings), redactor or Redactor()
    if settings.profile is not Profile.PAPER:
        yield _real(settings, vault, redactor)
    elif settings.paper.venues_file is not None:
        yield _other_process(settings, settings.paper.venues_file, vault, redactor)
    else:
        async with _embedded(settings, vault, redactor) as composed:
            yield composed


def _real(settings: Settings, vault: Vault, redactor: Redactor) -> Composed:
    configs: dict[VenueId, VenueConfig] = {}
    missing: list[str] = []
    keyring = make_keyring(settings, vault)
    for venue in settings.trading.venues:
        credentials = keyring.pair(venue, settings.profile)
        if credentials is None and vault.problem is not None:
            credentials = NO_KEY
        if credentials is None:
            names = " and ".join(rest_credential_names(venue, settings.profile))
            missing.append(f"{names}: both are needed for {venue} with PROFILE={settings.profile}")
            continue
        configs[venue] = VenueConfig(endpoints(venue, settings.profile), make_dialect(venue, credentials))
    if missing:
        raise SettingsError(missing)
    seams = _seams(settings, SystemClock(), ssl.create_default_context(), redactor)
    config = _service_config(settings, configs, keyring, redactor)
    return Composed(config, seams, None, f"the venues' {settings.profile} servers")


def _other_process(settings: Settings, path: Path, vault: Vault, redactor: Redactor) -> Composed:
    try:
        access = HostAccess.from_json(path.read_text())
    except (OSError, ValueError) as error:
        raise SettingsError([f"PAPER_VENUES={path}: {error}"]) from None
    keyring = paper_keyring(settings, vault, access)
    seams = _seams(settings, SystemClock(), _trusting(access.ca_file), redactor)
    config = _service_config(settings, paper_configs(settings, access, keyring), keyring, redactor)
    return Composed(config, seams, None, f"served by another process ({path})")


@asynccontextmanager
async def _embedded(settings: Settings, vault: Vault, redactor: Redactor) -> AsyncIterator[Composed]:
    venues = settings.trading.venues
    source = make_source(settings.paper.market, venues, settings.paper.speed)
    data_dir = settings.house.data_dir
    stored = {venue: Keyring(vault).stored_pair(venue, settings.profile) for venue in venues}
    host_config = HostConfig(
        venues=venues, fees=paper_fees(settings), latency_s=settings.paper.latency_s,
        # an account does not forget a key that it has once accepted, and only we have kept it
        more_keys={venue: pair for venue, pair in stored.items() if pair is not None},
    )
    plain = TcpNetwork(ssl.create_default_context())
    async with trio.open_nursery() as nursery:
        access: HostAccess = await nursery.start(
            partial(
                run_host, host_config, network=plain, source=source, store_path=data_dir / "simvenue.db",
                rng=random.SystemRandom(), mono_ns=time.monotonic_ns, trace=no_trace, tls=True,
                ca_file=data_dir / "simvenue-ca.pem",
            )
        )
        _leave_access(data_dir / "simvenue.json", access)
        clock: Clock = SystemClock()
        if isinstance(settings.paper.market, RecordingMarket):
            clock = OffsetClock(source.wall_ns)  # a recording has its own time, and so has who trades on it
        seams = _seams(settings, clock, _trusting(access.ca_file), redactor)
        keyring = paper_keyring(settings, vault, access)
        words = "synthetic" if not isinstance(settings.paper.market, RecordingMarket) else "recorded"
        yield Composed(
            _service_config(settings, paper_configs(settings, access, keyring), keyring, redactor), seams,
            access.ended, f"embedded, {words} market",
        )
        nursery.cancel_scope.cancel()


def _leave_access(path: Path, access: HostAccess) -> None:
    """How other clients reach the embedded venues (play money, but keys all the same): the owner alone may read."""
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(access.to_json() + "\n")


def paper_keyring(settings: Settings, vault: Vault, access: HostAccess) -> Keyring:
    made = {venue: Credentials(each.api_key, each.api_secret) for venue, each in access.venues.items()}
    return make_keyring(settings, vault, made)


def paper_configs(
    settings: Settings, access: HostAccess, keyring: Keyring | None = None
) -> dict[VenueId, VenueConfig]:
    """The loop venues as `access` reaches them, with the keys of `keyring`. SettingsError for one that is not served
    there."""
    configs: dict[VenueId, VenueConfig] = {}
    for venue in settings.trading.venues:
        if venue not in access.venues:
            raise SettingsError([f"LOOP_VENUES names {venue}, which the embedded venues do not serve"])
        each = access.venues[venue]
        credentials = None if keyring is None else keyring.pair(venue, settings.profile)
        configs[venue] = VenueConfig(
            Endpoints(each.rest, each.ws, each.ws_api),
            make_dialect(venue, credentials or Credentials(each.api_key, each.api_secret)),
        )
    return configs


def _trusting(ca_file: Path | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))


def _seams(settings: Settings, clock: Clock, client_tls: ssl.SSLContext, redactor: Redactor) -> Seams:
    return Seams(
        TcpNetwork(client_tls), clock, random.Random(random.SystemRandom().getrandbits(64)), open_thread_worker,
        open_sqlite, no_trace, CrashPoints(settings.house.crash_at),
        open_websocket=WS_CLIENTS[settings.house.ws_client], outside=TcpNetwork(ssl.create_default_context()),
        redactor=redactor,
    )


def _service_config(
    settings: Settings, configs: dict[VenueId, VenueConfig], keyring: Keyring, redactor: Redactor
) -> ServiceConfig:
    redactor.register(*all_secrets(settings, keyring))
    return ServiceConfig(settings, configs, settings.house.data_dir, keyring)
