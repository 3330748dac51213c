"""The environment and `.env` become one frozen `Settings`, or one SettingsError that names every problem at once.

Called once, by the command line; nothing below it reads the environment. docs/configuration.md lists every name, and
a test holds it to that.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

from dotenv.parser import parse_stream
from pydantic import SecretStr, ValidationError

from propbot.control.operators import BadOperators, Operator, Operators, open_to_others, read_operators
from propbot.domain.errors import SettingsError
from propbot.domain.instruments import VenueId
from propbot.domain.mode import Mode, Profile
from propbot.kit.server_tls import server_tls
from propbot.secrets.master_key import PAPER_KEY_FILE, read_key_file
from propbot.secrets.names import KEY_NAMES
from propbot.settings_groups import (
    SECRET_NAMES,
    TRADABLE_VENUES,
    VARIABLE_NAMES,
    Api,
    Group,
    Guarding,
    House,
    Paper,
    Risk,
    Sealing,
    Settings,
    Start,
    Telegram,
    Trading,
    accepted,
    known_names,
    profile_defaults,
)
from propbot.settings_values import RecordingMarket, parse_pair, variable_part

__all__ = [
    "Api", "Guarding", "House", "Paper", "Risk", "Sealing", "Settings", "Start", "Telegram", "Trading", "load_settings",
]

G = TypeVar("G", bound=Group)

OPTIONAL_NAMES = (
    "PAPER_VENUES", "PROPBOT_CRASH_AT", "OPERATORS_FILE", "TELEGRAM_BOT_TOKEN", "TELEGRAM_CHAT_ID", "TELEGRAM_API_BASE",
    "SECRETS_KEY", "SECRETS_KEY_FILE", "API_TLS_CERT_FILE", "API_TLS_KEY_FILE",
)
_FOREIGN_NAMES = frozenset({
    "PROPBOT_BASE_URL", "COMPOSE_PROJECT_NAME", "PROPBOT_PORT", "PROPBOT_TAG", "PROPBOT_BASE_IMAGE",
    "PROPBOT_PIP_OPTIONS",
})
"""Not ours to read: propbotctl's, and those of deploy/docker-compose.prod.yml, whose `.env` is ours as well."""
PLACEHOLDER = "CHANGE_ME"
"""How the values of deploy/env.example.prod begin that have to be filled in."""


def load_settings(environ: Mapping[str, str], env_file: Path | None) -> Settings:
    """The settings of `environ` over those of `env_file` over the defaults; SettingsError with every problem."""
    problems: list[str] = []
    from_file = _read_env_file(env_file, problems)
    given = {**from_file, **environ}
    profile = _read_profile(given, problems)
    defaults = profile_defaults(profile)
    raw = {name: value for name, value in given.items() if not _unset(name, value)}
    for name in [name for name, value in raw.items() if value.startswith(PLACEHOLDER)]:
        problems.append(f"{name}: is still the example's placeholder: put your own value there, or remove the line")
        del raw[name]

    start = _read(Start, raw, defaults, problems)
    trading = _read(Trading, raw, defaults, problems)
    risk = _read(
        Risk,
        raw,
        defaults,
        problems,
        max_position_usdt_by_pair=_read_each(raw, "MAX_POSITION_USDT", parse_pair, Risk, problems),
    )
    guarding = _read(Guarding, raw, defaults, problems)
    paper = _read(
        Paper,
        raw,
        defaults,
        problems,
        taker_fee_bps_by_venue=_read_each(raw, "TAKER_FEE_BPS", _venue_of, Paper, problems),
        maker_fee_bps_by_venue=_read_each(raw, "MAKER_FEE_BPS", _venue_of, Paper, problems),
    )
    api = _read(Api, raw, defaults, problems)
    telegram = _read(Telegram, raw, defaults, problems)
    house = _read(House, raw, defaults, problems)
    problems += _metrics_problems(api)
    paper_key_file = _paper_key_file(environ) if profile is Profile.PAPER else None
    sealing = _read(Sealing, raw, defaults, problems, paper_key_file=paper_key_file)
    problems += _sealing_problems(sealing, house)
    people, readable = _read_people(api, problems)
    if start.two_man_rule:
        problems += _two_man_problems(people)
    if profile is Profile.PAPER:
        problems += _missing_files(paper, trading)
    problems += _telegram_problems(raw)
    problems += _access_problems(profile, api, token_given="API_TOKEN" in raw or people.by_file)
    bad_tls, tls_words = _tls_problems(api)
    problems += bad_tls
    if house.crash_at is not None and profile is Profile.LIVE:
        problems.append(f"PROPBOT_CRASH_AT={house.crash_at}: accepted: never with PROFILE=live")
    if problems:
        raise SettingsError(problems, _warnings(environ, from_file))
    warnings = _warnings(environ, from_file) + readable + tls_words + _telegram_warnings(telegram, people)
    if sealing.key_file is not None and open_to_others(sealing.key_file):
        path = sealing.key_file
        warnings.append(f"SECRETS_KEY_FILE={path} is open to others than its owner: chmod 400 {path}")
    if profile is not Profile.PAPER and start.mode is not Mode.HOLD:
        warnings.append(f"MODE={start.mode.value} was ignored: {profile.value} always starts in HOLD")
        start = start.model_copy(update={"mode": Mode.HOLD})
    keys = {name: SecretStr(value) for name, value in raw.items() if name in KEY_NAMES}
    names = frozenset(name for name in given if name in known_names() or _is_variable(name))
    return Settings(
        profile, start, trading, risk, guarding, paper, api, telegram, house, sealing, keys, names, tuple(warnings),
        people.listed,
    )


def _read_env_file(path: Path | None, problems: list[str]) -> dict[str, str]:
    """`NAME=value` lines; no interpolation: a secret may contain a dollar sign."""
    if path is None or not path.exists():
        return {}
    values: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8") as file:
            for binding in parse_stream(file):
                if binding.error or (binding.key is not None and binding.value is None):
                    problems.append(f"{path.name} line {binding.original.line}: accepted: NAME=value")
                elif binding.key is not None and binding.value is not None:
                    values[binding.key] = binding.value
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{path}: can't be read: {error}")
    return values


def _read_profile(given: Mapping[str, str], problems: list[str]) -> Profile:
    """paper when it is wrong, so that the other problems still show."""
    try:
        return Profile(given.get("PROFILE", "paper"))
    except ValueError:
        problems.append(_line("PROFILE", given["PROFILE"], "paper, testnet or live"))
        return Profile.PAPER


def _unset(name: str, value: str) -> bool:
    """An empty optional setting is one that was not set (compose files pass such). An empty token is a mistake."""
    return value == "" and (name in KEY_NAMES or name in OPTIONAL_NAMES)


def _read(
    group: type[G], raw: Mapping[str, str], defaults: Mapping[str, str], problems: list[str], **more: object
) -> G:
    """The group. A wrong setting is reported and read as its default, so that what follows is looked at too."""
    names = {field.alias for field in group.model_fields.values() if field.alias}
    values: dict[str, object] = {**more}
    values |= {name: text for name, text in {**defaults, **raw}.items() if name in names}
    try:
        return group.model_validate(values)
    except ValidationError as error:
        wrong = dict.fromkeys(str(each["loc"][0]) for each in error.errors(include_input=False))
    problems += [_line(name, raw[name], accepted(group, name)) for name in wrong]
    for name in wrong:
        values.pop(name)
    return group.model_validate({**{name: defaults[name] for name in wrong if name in defaults}, **values})


def _read_each(
    raw: Mapping[str, str], name: str, key_of: Callable[[str], str], group: type[Group], problems: list[str]
) -> dict[str, Decimal]:
    """`NAME__X=value` settings by what X means; each value must be one that NAME would take."""
    values: dict[str, Decimal] = {}
    for full_name, text in raw.items():
        part = variable_part(full_name, name)
        if part is None:
            continue
        try:
            key = key_of(part)
        except ValueError as error:
            problems.append(f"{full_name}: {error}")
            continue
        try:
            one = group.model_validate({name: text})
        except ValidationError:
            problems.append(_line(full_name, text, accepted(group, name)))
        else:
            values[key] = getattr(one, name.lower())
    return values


def _venue_of(part: str) -> VenueId:
    for venue in TRADABLE_VENUES:
        if venue.replace("-", "_").upper() == part:
            return venue
    names = ", ".join(venue.replace("-", "_").upper() for venue in TRADABLE_VENUES)
    raise ValueError(f"no such venue; accepted after the two underscores: {names}")


def _line(name: str, value: str, accepts: str) -> str:
    shown = "(not shown)" if name in SECRET_NAMES else re.sub(r"[^\x20-\x7e]", "?", value)[:100]
    return f"{name}={shown}: accepted: {accepts}"


def _missing_files(paper: Paper, trading: Trading) -> list[str]:
    problems: list[str] = []
    if paper.venues_file is not None and not os.path.isfile(paper.venues_file):
        accepts = f"{accepted(Paper, 'PAPER_VENUES')} (there is no such file)"
        problems.append(_line("PAPER_VENUES", str(paper.venues_file), accepts))
    if isinstance(paper.market, RecordingMarket):
        for venue, path in paper.market.files.items():
            if not os.path.isfile(path):
                problems.append(f"PAPER_MARKET: the recording of {venue} is no file: {path}")
        for venue in trading.venues if paper.venues_file is None else ():
            if venue not in paper.market.files:
                problems.append(f"PAPER_MARKET: LOOP_VENUES names {venue}, which has no recording: add {venue}=FILE")
    return problems


def _paper_key_file(environ: Mapping[str, str]) -> Path | None:
    """In the user's configuration folder; None where there is no such user."""
    folder, home = environ.get("XDG_CONFIG_HOME", ""), environ.get("HOME", "")
    if os.path.isabs(folder):
        return Path(folder) / PAPER_KEY_FILE
    return Path(home) / ".config" / PAPER_KEY_FILE if os.path.isabs(home) else None


def _sealing_problems(sealing: Sealing, house: House) -> list[str]:
    path = sealing.key_file
    if path is None:
        return []
    if sealing.key is not None:
        return ["SECRETS_KEY and SECRETS_KEY_FILE are both set: accepted: one of them"]
    if path.resolve().is_relative_to(house.data_dir.resolve()):
        return [f"SECRETS_KEY_FILE={path}: lies in DATA_DIR, where a copy takes the secrets and their key: move it"]
    try:
        read_key_file(path)
    except OSError as error:
        return [f"SECRETS_KEY_FILE={path}: {error.strerror}"]
    except ValueError:
        return [_line("SECRETS_KEY_FILE", str(path), f"{accepted(Sealing, 'SECRETS_KEY_FILE')} (it holds no such key)")]
    return []


def _read_people(api: Api, problems: list[str]) -> tuple[Operators, list[str]]:
    """Who is let in, and what should be said of the file; every wrong entry is a problem."""
    token = None if api.token is None else api.token.get_secret_value()
    if token is not None and not token.strip():
        problems.append("API_TOKEN: is blank, which would let everybody in")
        token = None
    elif token is not None and not (token.isprintable() and token == token.strip()):
        problems.append(_line("API_TOKEN", token, "what a header can carry: printable, no blank at either end"))
        token = None
    own = Operators.of(token)
    path = api.operators_file
    if path is None:
        return own, []
    listed: tuple[Operator, ...] = ()
    warnings: list[str] = []
    try:
        _, listed = read_operators(path, None if own.token is None else own.token.token_digest)
        if open_to_others(path):
            warnings.append(f"OPERATORS_FILE={path} is open to others than its owner: chmod 600 {path}")
    except BadOperators as error:
        problems += [f"OPERATORS_FILE={path}: {problem}" for problem in error.problems]
    except OSError as error:
        problems.append(f"OPERATORS_FILE={path}: {error.strerror or error}")
    return Operators.of(token, listed, by_file=True), warnings


def _metrics_problems(api: Api) -> list[str]:
    """Whoever may scrape must not be able to do anything else."""
    if api.metrics_token is None:
        return []
    token = api.metrics_token.get_secret_value()
    if not (token.isprintable() and token == token.strip()):
        return [_line("METRICS_TOKEN", token, "what a header can carry: printable, no blank at either end")]
    if api.token is not None and token == api.token.get_secret_value():
        return [_line("METRICS_TOKEN", token, "another one than API_TOKEN, which may do everything")]
    return []


def _two_man_problems(people: Operators) -> list[str]:
    approvers = people.approvers
    if len(approvers) >= 2:
        return []
    there = f"there {'is' if len(approvers) == 1 else 'are'} {len(approvers)} ({', '.join(approvers) or 'nobody'})"
    return [
        f"TWO_MAN_RULE=true: needs two people who can approve, and {there}: accepted: false, or people with the roles "
        "approver or admin in OPERATORS_FILE"
    ]


def _telegram_problems(raw: Mapping[str, str]) -> list[str]:
    """Both names, or neither."""
    names = ("TELEGRAM_BOT_TOKEN", "TELEGRAM_CHAT_ID")
    missing = [name for name in names if name not in raw]
    if len(missing) != 1:
        return []
    (other,) = [name for name in names if name in raw]
    return [f"{missing[0]} is not set, but {other} is: accepted: both of them, or neither"]


def _telegram_warnings(telegram: Telegram, people: Operators) -> list[str]:
    if not telegram.on or not telegram.in_group or people.by_telegram_id:
        return []
    return [
        f"TELEGRAM_CHAT_ID={telegram.chat_id} is a group, and nobody in OPERATORS_FILE has a telegram_id: its members "
        "can look and /pause, and nothing else"
    ]


def _access_problems(profile: Profile, api: Api, *, token_given: bool) -> list[str]:
    problems: list[str] = []
    if not token_given and not (profile is Profile.PAPER and api.on_loopback):
        problems.append(
            f"API_TOKEN is not set: accepted: {accepted(Api, 'API_TOKEN')} "
            "(it may be absent only with PROFILE=paper and API_HOST on a loopback address)"
        )
    if not api.on_loopback and not api.speaks_tls:
        problems.append(
            f"API_HOST={api.host}: accepted: a loopback address, or any with API_TLS_CERT_FILE and API_TLS_KEY_FILE, "
            "or with TRUSTED_PROXY behind a proxy that speaks TLS"
        )
    return problems


def _tls_problems(api: Api) -> tuple[list[str], list[str]]:
    """What is wrong with certificate and key, and what should be said of them."""
    cert, key = api.tls_cert_file, api.tls_key_file
    if cert is None and key is None:
        return [], []
    if cert is None or key is None:
        return ["API_TLS_CERT_FILE and API_TLS_KEY_FILE: accepted: both or neither"], []
    unreadable = [
        f"{name}={path}: can't be read"
        for name, path in (("API_TLS_CERT_FILE", cert), ("API_TLS_KEY_FILE", key)) if not os.access(path, os.R_OK)
    ]
    if unreadable:
        return unreadable, []
    try:
        server_tls(cert, key)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        return [f"API_TLS_CERT_FILE={cert}, API_TLS_KEY_FILE={key}: are no certificate and its key: {error}"], []
    open_key = f"API_TLS_KEY_FILE={key} is open to others than its owner: chmod 600 {key}"
    return [], [open_key] if open_to_others(key) else []


def _is_variable(name: str) -> bool:
    """`TAKER_FEE_BPS__BINANCE_UM` and its like."""
    return any(variable_part(name, fixed) is not None for fixed in VARIABLE_NAMES)


def _warnings(environ: Mapping[str, str], from_file: Mapping[str, str]) -> list[str]:
    """Names that nobody reads: all such of `.env`, and of the environment those that look like a slip of the pen."""
    known = known_names()
    warnings: list[str] = []
    for name in dict.fromkeys([*from_file, *environ]):
        if name in known or name in _FOREIGN_NAMES or _is_variable(name):
            continue
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.85)
        if close or name in from_file or name.startswith("PROPBOT_"):
            hint = f"; did you mean {close[0]}?" if close else ""
            warnings.append(f"{name} is no setting of this version and was ignored{hint}")
    return warnings
