"""How a service is opened: ledger, state and gateways in the order in which they have to outlive each other, and what
an earlier life left in them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from attrs import evolve

from propbot.assembly import assemble, join_preflight
from propbot.control.baseline import cost_gap_key
from propbot.control.keeper import StateKeeper, open_state_keeper
from propbot.control.modes import choose_start
from propbot.control.parameters import Chosen, apply_parameters, choose_parameters
from propbot.control.state_file import FILE_NAME, RuntimeState
from propbot.domain.errors import LedgerError, SettingsError
from propbot.domain.instruments import VenueId
from propbot.domain.mode import Profile
from propbot.domain.money import parse_amount
from propbot.execution.budget import Shares
from propbot.execution.gateway import VenueGateway, open_gateway
from propbot.execution.pause_memory import remember_pauses
from propbot.execution.winddown import describe_half_done
from propbot.kit.threads import run_each
from propbot.ledger.store import Ledger, open_ledger
from propbot.seams import Seams, ServiceConfig
from propbot.secrets.vault import VaultKeeper
from propbot.service import Service
from propbot.status.incidents import KEPT_MAX

STATE_GENERATION = "state_generation"
"""What the ledger remembers of the state file, so that an older copy of it is known for one."""
NOT_ENDED = (
    "the last run did not end in order: it was killed, lost its power, or could not keep its last state; this one goes"
    " on from state"
)
LEDGER_PROFILE = "profile"
KEYS_OF_THE_ENVIRONMENT = "no stored key is in force, those of the environment are: check and resume, or restart"


@asynccontextmanager
async def open_service(config: ServiceConfig, seams: Seams) -> AsyncIterator[Service]:
    settings = config.settings
    async with AsyncExitStack() as stack:
        ledger = await stack.enter_async_context(
            open_ledger(
                config.data_dir / "ledger.db", clock=seams.clock, open_worker=seams.open_worker,
                open_connection=seams.open_sqlite, crash=seams.crash, synchronous=settings.house.ledger_sync,
            )
        )
        await _claim_ledger(ledger, settings.profile)
        keeper = await stack.enter_async_context(
            open_state_keeper(
                config.data_dir, seams.open_worker, seams.crash, seams.trace, seams.replace_file,
                wall_ns=seams.clock.wall_ns,
            )
        )
        vault_worker = await stack.enter_async_context(seams.open_worker("secrets", run_each))
        gateways: dict[VenueId, VenueGateway] = {}
        for venue, each in config.venues.items():
            gateways[venue] = await stack.enter_async_context(
                open_gateway(
                    seams.network, each.endpoints, each.dialect, seams.clock,
                    Shares(settings.guarding.rate_pace_share, settings.guarding.rate_trip_share),
                )
            )
        stored = keeper.stored
        start = choose_start(
            configured=settings.start.mode, paper=settings.profile is Profile.PAPER,
            safe_mode=settings.start.safe_mode, dry_run_only=settings.start.dry_run_only,
            stored=None if stored is None else stored.view, now_ns=seams.clock.wall_ns(),
        )
        chosen = choose_parameters(settings, None if stored is None else stored.parameters)
        config = evolve(config, settings=apply_parameters(settings, chosen.parameters.patched))
        service = assemble(config, seams, ledger, gateways, start)
        service.secrets = VaultKeeper(
            config.keyring.vault, vault_worker, seams.crash, seams.replace_file, seams.clock
        )
        join_preflight(service, await stack.enter_async_context(seams.open_worker("preflight", run_each)))
        seams.trace("start", mode=str(start.mode))
        seams.trace("mode", mode=str(start.mode), source="startup", reason="")
        _take_up_state(service, keeper, chosen)
        await _load_ledger(service)
        await _compare_state(service)
        if keeper.problem is not None:
            service.trip(keeper.problem, "guard:state")
        if config.keyring.vault.problem is not None:
            service.trip(f"{config.keyring.vault.problem}; {KEYS_OF_THE_ENVIRONMENT}", "guard:secrets")
        for line in remember_pauses(gateways, service.counters):  # before the first byte to any venue
            service.journal.say("WARN", "rate_limit", line)
        await service.approvals.take_up(str(service.modes.view.mode))
        yield service


async def _claim_ledger(ledger: Ledger, profile: Profile) -> None:
    """A ledger is of one profile for ever: paper's lots and baselines are nothing that a real account has. Raises
    SettingsError for another one's."""
    owner = await ledger.meta_get(LEDGER_PROFILE)
    if owner is None:  # a new one, or of an earlier version
        with suppress(LedgerError):  # one that can't be written is its guard's business, and a HOLD
            await ledger.meta_put(LEDGER_PROFILE, str(profile))
    elif owner != str(profile):
        raise SettingsError([
            f"PROFILE={profile}: this data directory is of PROFILE={owner}, and what its ledger holds is not what the"
            f" {profile} accounts hold: use another DATA_DIR (container: move ./data aside), or PROFILE={owner} again"
        ])


def _take_up_state(service: Service, keeper: StateKeeper, chosen: Chosen) -> None:
    """What an earlier life left beside the ledger."""
    service.keeper, service.parameters = keeper, chosen.parameters
    for text in chosen.told:
        service.journal.say("WARN", "config", text, source="startup")
    stored = keeper.stored
    if stored is not None:
        for text in _tell_flags(service, stored):
            service.journal.say("WARN", "config", text, source="startup")
        if not stored.ended:
            service.journal.say("WARN", "startup", f"{NOT_ENDED} {stored.generation}", source="startup")
        service.counters.load(stored.counters)
        if stored.basis is not None:
            service.basis.take_up(stored.basis, service.seams.clock.wall_ns())


def _tell_flags(service: Service, stored: RuntimeState) -> list[str]:
    """The stricter wins: who has just taken a flag out of the environment has to hear that it is still on."""
    start = service.config.settings.start
    flags = (
        ("safe_mode", stored.view.safe_mode, start.safe_mode),
        ("dry_run_only", stored.view.dry_run_only, start.dry_run_only),
    )
    return [
        f"{name} is on, as the last run left it, though {name.upper()} is false in the environment: the stricter wins;"
        f" propbotctl control set {name}=false clears it"
        for name, kept, given in flags if kept and not given
    ]


async def _compare_state(service: Service) -> None:
    """State file and ledger belong together: where one is an older copy than the other, or is gone, nobody should
    trade before somebody has looked."""
    ledger, stored = service.ledger, service.keeper.stored
    told = await ledger.meta_get(STATE_GENERATION)
    problem = None
    if stored is None and service.keeper.problem is None and told is not None:
        problem = f"{FILE_NAME} is gone, though this ledger has been in use with one"
    elif stored is not None and told is not None and stored.generation < int(told):
        problem = f"{FILE_NAME} is an older copy than the ledger: generation {stored.generation}, not {told} or later"
    elif stored is not None and stored.head is not None and not await ledger.has_event(stored.head):
        problem = f"ledger.db is an older copy than {FILE_NAME}, or was cut: its journal has no row {stored.head.id}"
    if told is not None:
        service.keeper.go_on_from(int(told))
    if problem is not None:
        service.trip(f"{problem}; check mode, flags, parameters and positions, and resume", "guard:state")


async def _load_ledger(service: Service) -> None:
    """What an earlier life knew."""
    ledger = service.ledger
    unfinished = (*await ledger.unfinished_orders(), *await ledger.orders_missing_fills())
    service.blotter.load(
        await ledger.all_fills(), await ledger.live_lots(), unfinished, await ledger.all_funding()
    )
    service.simulator.load(await ledger.live_lots(simulated=True), await ledger.all_fills(simulated=True))
    service.baselines.update(await ledger.baselines())
    service.incidents.load(*await ledger.last_incidents(KEPT_MAX))
    for venue in service.venues:
        gap = await ledger.meta_get(cost_gap_key(venue))
        if gap is not None:
            service.cost_gaps[venue] = parse_amount(gap)
    rest = describe_half_done(service.blotter, service.base)
    if rest:
        service.journal.say("WARN", "startup", f"taken up from the last life: {rest}")
