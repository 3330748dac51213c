"""`propbot check`: settings, venues and the operators' chat, every problem at once; nothing is traded and nothing said.

The preflight is the service's own, so that what passes here passes at the start.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial

from propbot.assembly import look_at_disk, preflight_rules
from propbot.compose import Composed, compose
from propbot.control.checks import DiskSeen, Verdict
from propbot.control.preflight import PreflightRunner
from propbot.domain.instruments import VenueId
from propbot.execution.gateway import VenueGateway, open_gateway
from propbot.kit.disk import check_directory
from propbot.kit.redact import Redactor
from propbot.kit.threads import run_each
from propbot.messaging import check_chat
from propbot.settings import Settings

Say = Callable[[str], None]
LookAtDisk = Callable[[], Awaitable[DiskSeen]]


async def run_check(settings: Settings, say: Say, redactor: Redactor | None = None) -> list[str]:
    """What is wrong, a line each; `say` hears what was measured. SettingsError for what composing already refuses."""
    problems = check_directory(settings.house.data_dir)
    if problems:
        return problems
    async with compose(settings, redactor) as composed, AsyncExitStack() as stack:
        seams = composed.seams
        gateways = {
            venue: await stack.enter_async_context(
                open_gateway(seams.network, each.endpoints, each.dialect, seams.clock)
            )
            for venue, each in composed.config.venues.items()
        }
        disk = await stack.enter_async_context(seams.open_worker("preflight", run_each))
        return await _check(settings, composed, gateways, partial(look_at_disk, settings.house.data_dir, disk), say)


async def _check(
    settings: Settings, composed: Composed, gateways: Mapping[VenueId, VenueGateway], disk: LookAtDisk, say: Say
) -> list[str]:
    runner = PreflightRunner(
        gateways, preflight_rules(settings), lambda: settings.trading.order_notional_usdt, lambda venue: None, disk,
        composed.seams.clock,
    )
    result = await runner.run()
    chat = await check_chat(composed.config, composed.seams)
    checks = result.checks if chat is None else (*result.checks, chat)
    for check in checks:
        if check.verdict is not Verdict.FAILED:
            measured = "" if check.measured is None else f" ({check.measured})"
            say(f"{check.verdict:6} {check.name:28} {check.text}{measured}")
    return [check.text for check in checks if check.verdict is Verdict.FAILED]
