"""The settings in their groups: names, types, defaults and bounds. `settings` reads them; the parts are handed them.

A group has one reader, so that a part sees its own settings and not the whole. Amounts are exact Decimals made from
text, durations are seconds whatever the unit of the variable.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from attrs import evolve, frozen
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, SecretStr

from propbot.control.operators import Operator, Operators
from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM, Credentials, Fees, VenueId
from propbot.domain.mode import HoldExit, Mode, Profile
from propbot.domain.money import parse_amount
from propbot.secrets.names import KEY_NAMES, pair_names
from propbot.secrets.sealing import parse_key
from propbot.settings_values import (
    MaintenanceWindow,
    PaperMarket,
    TrustedProxy,
    is_loopback,
    known_crash_point,
    no_nul,
    no_zero,
    parse_api_base,
    parse_bot_token,
    parse_directory,
    parse_host_names,
    parse_market,
    parse_pair,
    parse_trusted_proxy,
    parse_venues,
    parse_windows,
)

TRADABLE_VENUES = (BINANCE_UM, BINANCE_SPOT)
"""The venues that this version has a dialect for."""
VARIABLE_NAMES = ("MAX_POSITION_USDT", "TAKER_FEE_BPS", "MAKER_FEE_BPS")
"""These also exist with `__` and a pair or a venue behind, for that one alone."""
TOKEN_CHARACTERS_MIN = 32
PROFILE_DEFAULTS: Mapping[str, tuple[str, str]] = {
    "MODE": ("RUN", "HOLD"),
    "SAFE_MODE": ("false", "true"),
    "DRY_RUN_ONLY": ("false", "true"),
    "BASIS_WARMUP_SEC": ("2", "30"),
}
"""Defaults that hang on the profile: in paper, and elsewhere."""

_exact = BeforeValidator(parse_amount)
_from_ms = AfterValidator(lambda ms: ms / 1000)
Seconds = Annotated[float, Field(allow_inf_nan=False)]
TFromMs = Annotated[float, Field(allow_inf_nan=False, ge=0, le=60_000), _from_ms]


def _named(name: str, default: str | None, accepts: str | None = None, **bounds: Any) -> Any:
    """A setting: its name, its default as one would write it, and what is accepted (derived from the bounds)."""
    if name not in PROFILE_DEFAULTS:
        bounds |= {"default": default, "validate_default": default is not None}
    return Field(alias=name, description=accepts, **bounds)


FilePath = Annotated[Path | None, AfterValidator(no_nul)]


class Group(BaseModel):
    """Some settings with one reader. Amounts are exact Decimals, durations are seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Start(Group):
    """How the service starts; afterwards the modes are the operators' business."""

    mode: Mode = _named("MODE", None, "RUN, DRAIN or HOLD")
    safe_mode: bool = _named("SAFE_MODE", None, "true or false")
    dry_run_only: bool = _named("DRY_RUN_ONLY", None, "true or false")
    two_man_rule: bool = _named("TWO_MAN_RULE", "false", "true or false")
    hold_exit: HoldExit = _named("HOLD_EXIT", "unwind", "unwind or freeze")
    hedge_deadline_s: Seconds = _named("HEDGE_DEADLINE_SEC", "5", ge=0.1, le=60)
    drain_timeout_s: Seconds = _named("DRAIN_TIMEOUT_SEC", "60", ge=1, le=3600)


class Trading(Group):
    """What the spread loop trades, when it opens and when it closes."""

    pair: Annotated[str, BeforeValidator(parse_pair)] = _named(
        "LOOP_PAIR", "BTCUSDT", "a symbol in capital letters and digits, such as BTCUSDT"
    )
    venues: Annotated[tuple[VenueId, ...], BeforeValidator(lambda text: parse_venues(text, TRADABLE_VENUES))] = _named(
        "LOOP_VENUES",
        "binance-um,binance-spot",
        f"one or more of {', '.join(TRADABLE_VENUES)}, each once, with commas or as a JSON list",
    )
    order_notional_usdt: Annotated[Decimal, _exact] = _named("ORDER_NOTIONAL_USDT", "1000", ge=1, le=1_000_000)
    min_spread_bps: Annotated[Decimal, _exact] = _named("MIN_SPREAD_BPS", "1", ge=0, le=100)
    max_slippage_bps: Annotated[Decimal, _exact] = _named("MAX_SLIPPAGE_BPS", "2", ge=0, le=50)
    poll_interval_s: Seconds = _named("POLL_INTERVAL_SEC", "1", ge=0.05, le=60)
    reference: Literal["auto", "zero", "moving"] = _named("REFERENCE", "auto", "auto, zero or moving")
    basis_halflife_s: Seconds = _named("BASIS_HALFLIFE_SEC", "120", ge=0.1, le=86_400)
    basis_warmup_s: Seconds = _named("BASIS_WARMUP_SEC", None, ge=0, le=3600)
    expected_slippage_bps: Annotated[Decimal, _exact] = _named("EXPECTED_SLIPPAGE_BPS", "0.5", ge=0, le=50)
    exit_edge_bps: Annotated[Decimal, _exact] = _named("EXIT_EDGE_BPS", "0", ge=-100, le=100)
    stop_bps: Annotated[Decimal, _exact] = _named("STOP_BPS", "20", ge=0, le=1000)
    max_spread_age_s: Seconds = _named("MAX_SPREAD_AGE_SEC", "300", ge=1, le=86_400)


class Risk(Group):
    """Bounds on size and count, and how old a book and the last reconciliation may be."""

    max_position_usdt: Annotated[Decimal, _exact] = _named("MAX_POSITION_USDT", "5000", ge=0, le=100_000_000)
    max_position_usdt_by_pair: Mapping[str, Decimal] = Field(default_factory=dict)
    max_total_notional_usdt: Annotated[Decimal, _exact] = _named(
        "MAX_TOTAL_NOTIONAL_USDT", "20000", ge=0, le=1_000_000_000
    )
    max_open_orders: int = _named("MAX_OPEN_ORDERS", "10", ge=1, le=1000)
    max_book_age_s: TFromMs = _named("MAX_BOOK_AGE_MS", "1500", "1 to 60000", gt=0)
    recon_interval_s: Seconds = _named("RECON_INTERVAL_SEC", "5", ge=0.5, le=3600)

    def max_position_usdt_of(self, pair: str) -> Decimal:
        return self.max_position_usdt_by_pair.get(pair, self.max_position_usdt)


class Guarding(Group):
    """When guards trip, one threshold each; `guards/` says what each means. Durations in seconds."""

    clock_skew_warn_s: TFromMs = _named("CLOCK_SKEW_WARN_MS", "200", "1 to 60000", gt=0)
    clock_skew_trip_s: TFromMs = _named("CLOCK_SKEW_TRIP_MS", "1000", "1 to 60000", gt=0)
    feed_stale_s: Seconds = _named("FEED_STALE_SEC", "60", ge=1, le=3600)
    feed_stale_exposed_s: Seconds = _named("FEED_STALE_EXPOSED_SEC", "3", ge=0.1, le=3600)
    resyncs_per_min_max: int = _named("MAX_RESYNCS_PER_MIN", "3", ge=1, le=1000)
    orders_per_min_max: int = _named("MAX_ORDERS_PER_MIN", "600", ge=1, le=100_000)
    cancels_per_min_max: int = _named("MAX_CANCELS_PER_MIN", "120", ge=1, le=100_000)
    equal_rejections_max: int = _named("MAX_EQUAL_REJECTIONS", "5", ge=1, le=1000)
    daily_loss_usdt_max: Annotated[Decimal, _exact] = _named("MAX_DAILY_LOSS_USDT", "500", ge=0, le=1_000_000_000)
    failed_spreads_max: int = _named("MAX_FAILED_SPREADS", "5", ge=1, le=1000)
    rate_pace_share: Seconds = _named("RATE_PACE_SHARE", "0.8", ge=0.1, le=1)
    rate_trip_share: Seconds = _named("RATE_TRIP_SHARE", "0.95", ge=0.1, le=1)
    disconnect_s_max: Seconds = _named("DISCONNECT_SEC", "5", ge=0.5, le=600)
    ledger_write_s_max: Seconds = _named("LEDGER_WRITE_SEC", "2", ge=0.1, le=60)
    loop_lag_p95_s_max: TFromMs = _named("LOOP_LAG_P95_MS", "250", "1 to 60000", gt=0)
    loop_stall_s_max: Seconds = _named("LOOP_STALL_SEC", "2", ge=0.1, le=60)
    disk_free_mb_min: int = _named("DISK_FREE_MB", "500", ge=0, le=10_000_000)
    maintenance_windows: Annotated[tuple[MaintenanceWindow, ...], PlainValidator(parse_windows)] = _named(
        "MAINTENANCE_WINDOWS",
        "",
        "windows with commas: 2026-12-01T02:00Z/2026-12-01T03:00Z, or weekly: WED 02:00-03:00 (UTC)",
    )


class Paper(Group):
    """The embedded venues; read in the paper profile only. Fees: None where the venue's own default holds."""

    market: Annotated[PaperMarket, PlainValidator(lambda text: parse_market(text, TRADABLE_VENUES))] = _named(
        "PAPER_MARKET", "synthetic", "synthetic, or recording:VENUE=FILE,VENUE=FILE"
    )
    venues_file: FilePath = _named("PAPER_VENUES", None, "a file that holds the line which `propbot venues` prints")
    latency_s: TFromMs = _named("PAPER_LATENCY_MS", "5", "0 to 60000")
    speed: Annotated[float, Field(allow_inf_nan=False)] = _named("PAPER_SPEED", "1", ge=0.01, le=1000)
    taker_fee_bps: Annotated[Decimal | None, _exact] = _named("TAKER_FEE_BPS", None, ge=-10, le=100)
    maker_fee_bps: Annotated[Decimal | None, _exact] = _named("MAKER_FEE_BPS", None, ge=-10, le=100)
    taker_fee_bps_by_venue: Mapping[str, Decimal] = Field(default_factory=dict)
    maker_fee_bps_by_venue: Mapping[str, Decimal] = Field(default_factory=dict)

    def fees_of(self, venue: VenueId, default: Fees) -> Fees:
        """What the embedded venue charges: the venue's own setting over the general one over `default`."""
        taker = self.taker_fee_bps_by_venue.get(venue, self.taker_fee_bps)
        maker = self.maker_fee_bps_by_venue.get(venue, self.maker_fee_bps)
        fees = default if taker is None else evolve(default, taker_bps=taker)
        return fees if maker is None else evolve(fees, maker_bps=maker)


class Api(Group):
    operators_file: FilePath = _named("OPERATORS_FILE", None, "a JSON file that lists who may do what")
    token: SecretStr | None = _named(
        "API_TOKEN", None, f"{TOKEN_CHARACTERS_MIN} characters or more", min_length=TOKEN_CHARACTERS_MIN
    )
    metrics_token: SecretStr | None = _named(
        "METRICS_TOKEN", None, f"{TOKEN_CHARACTERS_MIN} characters or more", min_length=TOKEN_CHARACTERS_MIN
    )
    host: str = _named("API_HOST", "127.0.0.1", "an address or a host name", pattern=r"^[A-Za-z0-9_.:-]+$")
    port: int = _named("API_PORT", "8000", ge=0, le=65_535)
    tls_cert_file: FilePath = _named("API_TLS_CERT_FILE", None, "a PEM file: the certificate, then its chain")
    tls_key_file: FilePath = _named("API_TLS_KEY_FILE", None, "a PEM file: the certificate's key, not encrypted")
    trusted_proxy: Annotated[TrustedProxy, PlainValidator(parse_trusted_proxy)] = _named(
        "TRUSTED_PROXY", "false", "false, true, or the proxy's addresses and networks, such as 10.0.0.2,172.18.0.0/16"
    )
    allowed_hosts: Annotated[frozenset[str], PlainValidator(parse_host_names)] = _named(
        "API_ALLOWED_HOSTS", "", "host names with commas, such as propbot.example.com"
    )

    @property
    def speaks_tls(self) -> bool:
        """By itself, or by the proxy in front."""
        return self.tls_cert_file is not None or self.trusted_proxy.there

    @property
    def hosts(self) -> frozenset[str]:
        """The names that it may be asked by."""
        return self.allowed_hosts | {self.host.lower()}

    @property
    def on_loopback(self) -> bool:
        return is_loopback(self.host)


class Telegram(Group):
    """The operators' chat: commands come from it, and what happened is told there."""

    bot_token: Annotated[SecretStr | None, BeforeValidator(parse_bot_token)] = _named(
        "TELEGRAM_BOT_TOKEN", None, "the token that BotFather gave, such as 123456:ABC-DEF"
    )
    chat_id: Annotated[int | None, Field(ge=-(2**52), le=2**52), AfterValidator(no_zero)] = _named(
        "TELEGRAM_CHAT_ID", None, "the number of a chat; that of a group is negative"
    )
    api_base: Annotated[str, BeforeValidator(parse_api_base)] = _named(
        "TELEGRAM_API_BASE", "https://api.telegram.org", "an https address, or http on a loopback address"
    )

    @property
    def on(self) -> bool:
        return self.bot_token is not None and self.chat_id is not None

    @property
    def in_group(self) -> bool:
        """More than one person may write there."""
        return self.chat_id is not None and self.chat_id < 0


def _sound_key(text: str) -> str:
    parse_key(text)
    return text


class Sealing(Group):
    """What seals the secrets that operators store. At most one of the two is given."""

    key_file: FilePath = _named(
        "SECRETS_KEY_FILE", None, "a file, outside of DATA_DIR, with 32 bytes in hex or base64"
    )
    key: Annotated[SecretStr | None, BeforeValidator(_sound_key)] = _named(
        "SECRETS_KEY", None, "32 bytes as 64 hex digits or in base64"
    )
    paper_key_file: Path | None = None
    """Where paper may make one, if neither is given."""


class House(Group):
    """The process itself: where it keeps its data and how it speaks."""

    data_dir: Annotated[Path, BeforeValidator(parse_directory)] = _named(
        "DATA_DIR", "data", "a directory; it is made, for its owner alone, when it does not exist"
    )
    ledger_sync: Literal["full", "normal"] = _named("LEDGER_SYNC", "full", "full or normal")
    ws_client: Literal["websockets", "trio-websocket"] = _named(
        "WS_CLIENT", "websockets", "websockets or trio-websocket"
    )
    log_format: Literal["console", "json"] = _named("LOG_FORMAT", "console", "console or json")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = _named(
        "LOG_LEVEL", "INFO", "DEBUG, INFO, WARNING or ERROR"
    )
    crash_at: Annotated[str | None, BeforeValidator(known_crash_point)] = _named(
        "PROPBOT_CRASH_AT", None, "a name that `propbot crash-points` lists, then :n"
    )


@frozen
class Settings:
    """Everything, checked. `warnings` are for the operator: names that nobody reads."""

    profile: Profile
    start: Start
    trading: Trading
    risk: Risk
    guarding: Guarding
    paper: Paper
    api: Api
    telegram: Telegram
    house: House
    sealing: Sealing
    keys: Mapping[str, SecretStr]
    """`<VENUE>_API_KEY[_TESTNET]` and its siblings, as given."""
    given: frozenset[str]
    """The names that were set at all, in the environment or in `.env`."""
    warnings: tuple[str, ...]
    operators: tuple[Operator, ...] = ()
    """Of OPERATORS_FILE, as the start found it."""

    def people(self) -> Operators:
        """Who is let in at the start; the service keeps its own in step with the file."""
        token = None if self.api.token is None else self.api.token.get_secret_value()
        return Operators.of(token, self.operators, by_file=self.api.operators_file is not None)

    def credentials(self, venue: VenueId) -> Credentials | None:
        """The pair for this profile, when both halves were given."""
        key, secret = (self.keys.get(name) for name in pair_names(venue, self.profile))
        if key is None or secret is None:
            return None
        return Credentials(key.get_secret_value(), secret.get_secret_value())


GROUPS: tuple[type[Group], ...] = (Start, Trading, Risk, Guarding, Paper, Api, Telegram, House, Sealing)
SECRET_NAMES = frozenset({*KEY_NAMES, "API_TOKEN", "METRICS_TOKEN", "TELEGRAM_BOT_TOKEN", "SECRETS_KEY"})


def known_names() -> frozenset[str]:
    """Every fixed name; `TAKER_FEE_BPS__<VENUE>` and its like come on top."""
    named = {field.alias for group in GROUPS for field in group.model_fields.values() if field.alias}
    return frozenset({*KEY_NAMES, *named, "PROFILE"})


def profile_defaults(profile: Profile) -> dict[str, str]:
    column = 0 if profile is Profile.PAPER else 1
    return {name: defaults[column] for name, defaults in PROFILE_DEFAULTS.items()}


def accepted(group: type[Group], name: str) -> str:
    """What the setting takes, in words: its own description, or its bounds."""
    field = next(field for field in group.model_fields.values() if field.alias == name)
    if field.description:
        return field.description
    bounds = {part: getattr(each, part) for each in field.metadata for part in ("ge", "le") if hasattr(each, part)}
    return f"{bounds['ge']} to {bounds['le']}"
