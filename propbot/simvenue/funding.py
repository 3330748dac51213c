"""Funding: the perps settle at 00, 08 and 16 o'clock of their own clock, which need not run at our pace."""

from __future__ import annotations

from collections.abc import Iterable

import trio

from propbot.domain.instruments import Kind
from propbot.simvenue.faces.core import Core
from propbot.simvenue.faces.um_market import FUNDING_INTERVAL_MS

_LOOK_EVERY_S = 5.0


async def run_funding(cores: Iterable[Core]) -> None:
    """Until cancelled. An hour that passed while the host was down is not made up for."""
    perps = [core for core in cores if core.engine.instruments()[0].kind is Kind.PERP]
    settled = {core.venue: core.engine.now_ms() // FUNDING_INTERVAL_MS for core in perps}
    while True:
        await trio.sleep(_LOOK_EVERY_S)
        for core in perps:
            interval = core.engine.now_ms() // FUNDING_INTERVAL_MS
            if interval > settled[core.venue]:
                settled[core.venue] = interval
                _settle(core)


def _settle(core: Core) -> None:
    for instrument in core.engine.instruments():
        if core.engine.position(instrument.symbol)[0] and core.engine.top(instrument.symbol) is not None:
            core.engine.fund(instrument.symbol, core.funding_rate)
