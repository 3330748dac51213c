"""`propbot venues`: the embedded venues in a process of their own, for a bot elsewhere or for foreign clients."""

from __future__ import annotations

import random
import signal
import ssl
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import trio
from attrs import frozen

from propbot.domain.instruments import Fees, VenueId
from propbot.kit.net import TcpNetwork
from propbot.kit.trace import no_trace
from propbot.settings_groups import TRADABLE_VENUES
from propbot.simvenue.host import HostAccess, HostConfig, run_host
from propbot.simvenue.records import MarketSource


@frozen
class VenuesOptions:
    host: str
    port: int
    ca_file: Path | None
    data_dir: Path | None
    trace: Path | None


async def run_venues(
    options: VenuesOptions,
    make_source: Callable[[], MarketSource],
    fees: Mapping[VenueId, Fees],
    latency_s: float,
    rng: random.Random,
    say: Callable[[str], None],
) -> None:
    """Serve until SIGTERM or SIGINT; `say` gets the one JSON line once every port listens."""
    config = HostConfig(
        venues=TRADABLE_VENUES, fees=fees, latency_s=latency_s, host=options.host, port=options.port,
        trace_file=options.trace,
    )
    async with trio.open_nursery() as nursery:
        access: HostAccess = await nursery.start(
            partial(
                run_host, config, network=TcpNetwork(ssl.create_default_context()), source=make_source(),
                store_path=None if options.data_dir is None else options.data_dir / "simvenue.db", rng=rng,
                mono_ns=time.monotonic_ns, trace=no_trace, tls=True, ca_file=options.ca_file or _default_ca(options),
            )
        )
        say(access.to_json())
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for _ in signals:
                nursery.cancel_scope.cancel()
                break


def _default_ca(options: VenuesOptions) -> Path:
    folder = options.data_dir or Path(tempfile.mkdtemp(prefix="propbot-venues-"))
    return folder / "simvenue-ca.pem"
