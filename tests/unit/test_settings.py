"""Settings: defaults by profile, every problem at once, no secret shown, and the document that lists them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from propbot.domain.errors import SettingsError
from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM, Fees
from propbot.domain.mode import Mode, Profile
from propbot.kit.ws_clients import WS_CLIENTS
from propbot.secrets.names import KEY_NAMES
from propbot.settings import load_settings
from propbot.settings_groups import GROUPS, PROFILE_DEFAULTS, VARIABLE_NAMES, accepted, known_names
from propbot.settings_values import RecordingMarket, SyntheticMarket, parse_windows

TOKEN = "t" * 32
DOCUMENT = Path(__file__).parents[2] / "docs" / "configuration.md"
EXAMPLE = Path(__file__).parents[2] / ".env.example"


def problems_of(environ: Mapping[str, str], env_file: Path | None = None) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load_settings(environ, env_file)
    return caught.value.problems


def test_nothing_set_is_paper_that_trades() -> None:
    settings = load_settings({}, None)
    assert settings.profile is Profile.PAPER
    assert settings.start.mode is Mode.RUN
    assert not settings.start.safe_mode
    assert not settings.start.dry_run_only
    assert settings.trading.venues == (BINANCE_UM, BINANCE_SPOT)
    assert settings.trading.order_notional_usdt == Decimal(1000)
    assert settings.trading.basis_warmup_s == 2
    assert isinstance(settings.paper.market, SyntheticMarket)
    assert settings.paper.latency_s == pytest.approx(0.005)
    assert settings.risk.max_book_age_s == pytest.approx(1.5)
    assert settings.house.data_dir == Path("data")
    assert settings.warnings == ()


@pytest.mark.parametrize("profile", ["testnet", "live"])
def test_other_profiles_start_in_hold_with_both_safeties_on(profile: str) -> None:
    settings = load_settings({"PROFILE": profile, "API_TOKEN": TOKEN}, None)
    assert settings.start.mode is Mode.HOLD
    assert settings.start.safe_mode
    assert settings.start.dry_run_only
    assert settings.trading.basis_warmup_s == 30


def test_no_configuration_leaves_hold_outside_of_paper() -> None:
    settings = load_settings({"PROFILE": "live", "API_TOKEN": TOKEN, "MODE": "RUN"}, None)
    assert settings.start.mode is Mode.HOLD
    assert settings.warnings == ("MODE=RUN was ignored: live always starts in HOLD",)


def test_every_problem_is_reported_at_once_with_name_value_and_range() -> None:
    problems = problems_of(
        {
            "PROFILE": "prod",
            "MODE": "GO",
            "ORDER_NOTIONAL_USDT": "0.5",
            "MIN_SPREAD_BPS": "NaN",
            "MAX_SLIPPAGE_BPS": "1e3",
            "POLL_INTERVAL_SEC": "inf",
            "MAX_OPEN_ORDERS": "1.5",
            "API_PORT": "99999",
            "LOOP_PAIR": "btc/usdt",
            "LOOP_VENUES": "binance-um,binance-um",
            "PAPER_MARKET": "recording:kraken=f",
            "MAX_POSITION_USDT__BTCUSDT": "-1",
            "TAKER_FEE_BPS__KRAKEN": "1",
            "SAFE_MODE": "perhaps",
            "DATA_DIR": "",
            "PROPBOT_CRASH_AT": "nowhere",
        }
    )
    assert "PROFILE=prod: accepted: paper, testnet or live" in problems
    assert "ORDER_NOTIONAL_USDT=0.5: accepted: 1 to 1000000" in problems
    assert "MIN_SPREAD_BPS=NaN: accepted: 0 to 100" in problems
    assert "MAX_POSITION_USDT__BTCUSDT=-1: accepted: 0 to 100000000" in problems
    assert len(problems) == 16


@pytest.mark.parametrize("text", ["NaN", "sNaN", "Infinity", "-inf", "1e999999", "", "0x10", "1,5", "1 000"])
def test_no_amount_is_taken_that_is_not_a_finite_number_in_range(text: str) -> None:
    (problem,) = problems_of({"MAX_POSITION_USDT": text})
    assert problem.startswith(f"MAX_POSITION_USDT={text}: accepted: ")


@given(st.dictionaries(st.sampled_from(sorted(known_names() - {"API_HOST"})), st.text(max_size=30), max_size=8))
def test_no_text_whatever_raises_anything_but_a_settings_error(environ: dict[str, str]) -> None:
    with suppress(SettingsError):
        load_settings(environ, None)


def test_what_several_settings_say_together_shows_beside_a_wrong_one() -> None:
    environ = {"API_HOST": "0.0.0.0", "API_PORT": "x", "TWO_MAN_RULE": "true", "MODE": "GO"}
    environ |= {"PAPER_MARKET": "recording:", "PAPER_VENUES": "no-such-file"}
    named = sorted(re.split("[= ]", problem)[0] for problem in problems_of(environ))
    assert named == ["API_HOST", "API_PORT", "API_TOKEN", "MODE", "PAPER_MARKET", "PAPER_VENUES", "TWO_MAN_RULE"]


def test_secrets_show_in_no_problem_and_no_repr() -> None:
    assert "hunter2" not in str(problems_of({"API_TOKEN": "hunter2"}))
    secret = "hunter2" * 5
    settings = load_settings({"API_TOKEN": secret, "BINANCE_UM_API_SECRET": secret}, None)
    assert "hunter2" not in repr(settings)


def test_no_secret_has_a_default_and_none_is_shipped() -> None:
    defaults = {
        field.alias: field.default
        for group in GROUPS for field in group.model_fields.values() if "SecretStr" in str(field.annotation)
    }
    assert defaults == dict.fromkeys(("API_TOKEN", "METRICS_TOKEN", "TELEGRAM_BOT_TOKEN", "SECRETS_KEY"))
    shipped = load_settings({}, EXAMPLE)
    assert (shipped.api.token, shipped.api.metrics_token, shipped.keys) == (None, None, {})
    written = re.findall(r"^#?(\w*(?:TOKEN|KEY|SECRET|PASSPHRASE)\w*)=(.*)$", EXAMPLE.read_text(), re.MULTILINE)
    written = [(name, value) for name, value in written if name != "SECRETS_KEY_FILE"]
    assert len(written) > 5
    assert {value for _, value in written} == {""}


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"API_TOKEN": ""}, "API_TOKEN"),
        ({"API_TOKEN": "t" * 31}, "API_TOKEN"),
        ({"API_TOKEN": TOKEN + " "}, "API_TOKEN"),
        ({"API_TOKEN": TOKEN + "\n"}, "API_TOKEN"),
        ({"API_TOKEN": TOKEN + "\udcff"}, "API_TOKEN"),
        ({"PROFILE": "testnet"}, "API_TOKEN"),
        ({"PROFILE": "live"}, "API_TOKEN"),
        ({"API_HOST": "0.0.0.0", "TRUSTED_PROXY": "true"}, "API_TOKEN"),
        ({"API_HOST": "0.0.0.0", "API_TOKEN": TOKEN}, "API_HOST"),
        ({"API_HOST": "trader.example", "API_TOKEN": TOKEN}, "API_HOST"),
        ({"API_HOST": "a b"}, "API_HOST"),
    ],
)
def test_the_api_is_never_open_by_accident(environ: dict[str, str], named: str) -> None:
    assert [problem for problem in problems_of(environ) if problem.startswith(named)]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_on_loopback_paper_needs_no_token(host: str) -> None:
    assert load_settings({"API_HOST": host}, None).api.token is None


def test_behind_a_trusted_proxy_any_address_will_do() -> None:
    settings = load_settings({"API_HOST": "0.0.0.0", "API_TOKEN": TOKEN, "TRUSTED_PROXY": "true"}, None)
    assert settings.api.token is not None
    assert settings.api.token.get_secret_value() == TOKEN


PROXIES = {
    "false": (False, 0),
    "": (False, 0),
    "true": (True, 0),
    "10.0.0.2": (True, 1),
    "10.0.0.2, 172.18.0.0/16,::1": (True, 3),
}


@pytest.mark.parametrize(("text", "read"), PROXIES.items())
def test_a_trusted_proxy_is_there_or_named(text: str, read: tuple[bool, int]) -> None:
    proxy = load_settings({"TRUSTED_PROXY": text}, None).api.trusted_proxy
    assert (proxy.there, len(proxy.networks)) == read


@pytest.mark.parametrize("text", ["yes", "10.0.0.1/8", "10.0.0.2;10.0.0.3", "10.0.0.2,", "*", "proxy.example"])
def test_a_proxy_that_is_no_address_is_refused(text: str) -> None:
    assert problems_of({"TRUSTED_PROXY": text})[0].startswith("TRUSTED_PROXY=")


def test_hosts_are_names_in_small_letters_and_the_one_listened_on() -> None:
    api = load_settings({"API_ALLOWED_HOSTS": "Desk.example.com., bot", "API_HOST": "localhost"}, None).api
    assert api.hosts == {"desk.example.com", "bot", "localhost"}
    for text in ("*.example.com", "https://desk", "desk:8000", "a b", "é.example"):
        assert problems_of({"API_ALLOWED_HOSTS": text})[0].startswith("API_ALLOWED_HOSTS=")


@pytest.fixture
def certificate(tmp_path: Path) -> dict[str, str]:
    made = trustme.CA().issue_cert("localhost")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made.cert_chain_pems[0].write_to_path(str(cert))
    made.private_key_pem.write_to_path(str(key))
    key.chmod(0o600)
    return {"API_TLS_CERT_FILE": str(cert), "API_TLS_KEY_FILE": str(key)}


def test_with_a_certificate_any_address_will_do(certificate: dict[str, str]) -> None:
    settings = load_settings({"API_HOST": "0.0.0.0", "API_TOKEN": TOKEN, **certificate}, None)
    assert settings.api.speaks_tls
    assert settings.warnings == ()
    Path(certificate["API_TLS_KEY_FILE"]).chmod(0o644)
    assert "chmod 600" in load_settings(certificate, None).warnings[0]


def test_a_certificate_that_can_not_be_used_is_refused_at_the_start(certificate: dict[str, str]) -> None:
    cert, key = certificate["API_TLS_CERT_FILE"], certificate["API_TLS_KEY_FILE"]
    wrong = {
        "both or neither": {"API_TLS_CERT_FILE": cert},
        "are no certificate and its key": {"API_TLS_CERT_FILE": key, "API_TLS_KEY_FILE": key},
        "API_TLS_KEY_FILE=/no/such: can't be read": {"API_TLS_CERT_FILE": cert, "API_TLS_KEY_FILE": "/no/such"},
    }
    for words, environ in wrong.items():
        assert words in "; ".join(problems_of({"API_HOST": "0.0.0.0", "API_TOKEN": TOKEN, **environ}))
    other = trustme.CA().issue_cert("localhost")
    other.private_key_pem.write_to_path(key)
    assert "are no certificate and its key" in problems_of(certificate)[0]


def test_a_two_man_rule_of_one_man_is_refused() -> None:
    assert "there are 0 (nobody)" in problems_of({"TWO_MAN_RULE": "true"})[0]
    assert "there is 1 (api)" in problems_of({"TWO_MAN_RULE": "true", "API_TOKEN": TOKEN})[0]


def person(name: str, role: str, token: str) -> dict[str, object]:
    return {"name": name, "role": role, "token_sha256": hashlib.sha256(token.encode()).hexdigest()}


def test_two_people_who_can_approve_are_enough_for_the_two_man_rule(tmp_path: Path) -> None:
    path = tmp_path / "operators.json"
    given = {"TWO_MAN_RULE": "true", "OPERATORS_FILE": str(path)}
    path.write_text(json.dumps([person("ann", "operator", "a"), person("bob", "approver", "b")]))
    path.chmod(0o600)
    assert "there is 1 (bob)" in problems_of(given)[0]
    settings = load_settings({**given, "API_TOKEN": TOKEN}, None)
    assert settings.people().approvers == ("api", "bob")
    assert settings.warnings == ()
    path.write_text(json.dumps([person("ann", "admin", "a"), person("bob", "approver", "b")]))
    assert not load_settings(given, None).people().open_to_all, "who is listed has a token: nobody comes in without"


def test_every_wrong_operator_is_named_at_once_and_no_token_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "operators.json"
    entries = [person("ann", "chef", "a"), {"name": "bob", "token": "sesame"}, person("cy", "admin", TOKEN)]
    path.write_text(json.dumps(entries))
    problems = problems_of({"OPERATORS_FILE": str(path), "API_TOKEN": TOKEN})
    assert [problem.removeprefix(f"OPERATORS_FILE={path}: ").split(": ")[:2] for problem in problems] == [
        ["entry 1 (ann)", "role"], ["entry 2 (bob)", "unknown field 'token'"], ["entry 2 (bob)", "role"],
        ["entry 2 (bob)", "token_sha256"], ["cy", "token_sha256"],
    ]
    assert "sesame" not in " ".join(problems)


def test_an_operators_file_that_others_can_read_is_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "operators.json"
    path.write_text("[]")
    path.chmod(0o644)
    assert "chmod 600" in load_settings({"OPERATORS_FILE": str(path)}, None).warnings[0]


def test_an_operators_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "can't be read" in problems_of({"OPERATORS_FILE": str(tmp_path / "none.json")})[0]


def test_an_empty_operators_file_setting_is_none() -> None:
    assert load_settings({"OPERATORS_FILE": ""}, None).api.operators_file is None


def test_a_blank_token_is_refused() -> None:
    assert "blank" in problems_of({"API_TOKEN": " " * 40})[0]


def test_crash_points_are_refused_in_live_only() -> None:
    assert load_settings({"PROPBOT_CRASH_AT": "ack:before:3"}, None).house.crash_at == "ack:before:3"
    (problem,) = problems_of({"PROPBOT_CRASH_AT": "ack:before", "PROFILE": "live", "API_TOKEN": TOKEN})
    assert "never with PROFILE=live" in problem


def test_venues_come_with_commas_or_as_a_json_list() -> None:
    for text in ("binance-spot, binance-um", '["binance-spot","binance-um"]'):
        assert load_settings({"LOOP_VENUES": text}, None).trading.venues == (BINANCE_SPOT, BINANCE_UM)
    for text in ("", "[]", "{}", "[1]", "[", "okx-perp", "[" * 100_000):
        assert problems_of({"LOOP_VENUES": text})


def test_a_recording_needs_a_file_for_each_loop_venue(tmp_path: Path) -> None:
    file = tmp_path / "um.jsonl.gz"
    market = f"recording:binance-um={file}"
    assert len(problems_of({"PAPER_MARKET": market})) == 2
    file.touch()
    (problem,) = problems_of({"PAPER_MARKET": market})
    assert problem == "PAPER_MARKET: LOOP_VENUES names binance-spot, which has no recording: add binance-spot=FILE"
    settings = load_settings({"PAPER_MARKET": market, "LOOP_VENUES": "binance-um"}, None)
    assert settings.paper.market == RecordingMarket({BINANCE_UM: file})


def test_a_venues_file_must_exist(tmp_path: Path) -> None:
    (problem,) = problems_of({"PAPER_VENUES": str(tmp_path / "venues.json")})
    assert "no such file" in problem
    assert problems_of({"PAPER_VENUES": "x" * 5000})


def test_a_fee_for_one_venue_wins_over_the_general_one_and_that_over_the_venues_own() -> None:
    paper = load_settings({"TAKER_FEE_BPS": "0", "TAKER_FEE_BPS__BINANCE_UM": "1.25"}, None).paper
    own = Fees(maker_bps=Decimal(1), taker_bps=Decimal(2))
    assert paper.fees_of(BINANCE_UM, own) == Fees(maker_bps=Decimal(1), taker_bps=Decimal("1.25"))
    assert paper.fees_of(BINANCE_SPOT, own) == Fees(maker_bps=Decimal(1), taker_bps=Decimal(0))


def test_a_pair_may_have_a_limit_of_its_own() -> None:
    risk = load_settings({"MAX_POSITION_USDT__BTCUSDT": "70"}, None).risk
    assert risk.max_position_usdt_of("BTCUSDT") == Decimal(70)
    assert risk.max_position_usdt_of("ETHUSDT") == Decimal(5000)


def test_keys_belong_to_a_profile_and_count_in_pairs() -> None:
    environ = {"BINANCE_UM_API_KEY_TESTNET": "k", "BINANCE_UM_API_SECRET_TESTNET": "s", "API_TOKEN": TOKEN}
    environ |= {"BINANCE_SPOT_API_KEY_TESTNET": "k", "BINANCE_SPOT_API_SECRET_TESTNET": ""}
    testnet = load_settings({**environ, "PROFILE": "testnet"}, None)
    pair = testnet.credentials(BINANCE_UM)
    assert pair is not None
    assert (pair.api_key, pair.api_secret) == ("k", "s")
    assert testnet.credentials(BINANCE_SPOT) is None
    assert load_settings({**environ, "PROFILE": "live"}, None).credentials(BINANCE_UM) is None


def test_the_environment_wins_over_the_file_and_nothing_is_interpolated(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(f"# a comment\nMIN_SPREAD_BPS=3\nexport STOP_BPS='9'\nAPI_TOKEN={TOKEN}${{HOME}}\n")
    settings = load_settings({"MIN_SPREAD_BPS": "4"}, file)
    assert settings.trading.min_spread_bps == Decimal(4)
    assert settings.trading.stop_bps == Decimal(9)
    assert settings.api.token is not None
    assert settings.api.token.get_secret_value() == TOKEN + "${HOME}"
    assert settings.given == {"MIN_SPREAD_BPS", "STOP_BPS", "API_TOKEN"}


def test_a_line_of_the_file_that_is_none_is_named_by_number(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("MODE=HOLD\nSAFE_MODE\n'oops\n")
    problems = problems_of({}, file)
    assert problems == (".env line 2: accepted: NAME=value", ".env line 3: accepted: NAME=value")
    file.write_bytes(b"\xff\xfe")
    assert "can't be read" in problems_of({}, file)[0]


def test_names_that_nobody_reads_are_pointed_out(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("COLOUR=red\n")
    environ = {"MAX_POSITION_USD": "1", "PATH": "/bin", "PROPBOT_X": "1", "PROPBOT_BASE_URL": "x"}
    environ["TAKER_FEE_BPS__BINANCE_UM"] = "1"
    settings = load_settings(environ, file)
    assert [warning.partition(" ")[0] for warning in settings.warnings] == ["COLOUR", "MAX_POSITION_USD", "PROPBOT_X"]
    assert "did you mean MAX_POSITION_USDT?" in settings.warnings[1]


def test_nothing_can_be_changed_afterwards() -> None:
    settings = load_settings({}, None)
    with pytest.raises(ValueError, match="frozen"):
        settings.trading.pair = "ETHUSDT"


def _documented() -> dict[str, tuple[str, str]]:
    """Name → (default, accepted) of the table rows of docs/configuration.md."""
    rows = re.findall(r"^\| `([A-Z0-9_<>]+)` \| (.*?) \| (.*?) \|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    return {name: (default.replace("`", ""), takes.replace("`", "")) for name, default, takes in rows}


def test_the_document_lists_every_setting_with_its_default_and_range() -> None:
    documented = _documented()
    for group in GROUPS:
        for field in group.model_fields.values():
            if field.alias is None:
                continue
            if field.alias in PROFILE_DEFAULTS:
                paper, other = PROFILE_DEFAULTS[field.alias]
                default = f"{paper} in paper, else {other}"
            else:
                default = field.default or "not set"
            assert documented[field.alias] == (default, accepted(group, field.alias).replace("`", "")), field.alias


def test_the_document_lists_nothing_else() -> None:
    variable = {f"{name}__<PAIR>" for name in VARIABLE_NAMES} | {f"{name}__<VENUE>" for name in VARIABLE_NAMES}
    variable &= {"MAX_POSITION_USDT__<PAIR>", "TAKER_FEE_BPS__<VENUE>", "MAKER_FEE_BPS__<VENUE>"}
    keys = {f"<VENUE>_API_{part}{end}" for part in ("KEY", "SECRET", "PASSPHRASE") for end in ("", "_TESTNET")}
    assert set(_documented()) == variable | keys | (known_names() - set(KEY_NAMES))


def test_the_example_file_is_valid_and_changes_no_default() -> None:
    settings = load_settings({}, EXAMPLE)
    assert settings.warnings == ()
    assert settings.trading == load_settings({}, None).trading
    named = set(re.findall(r"^#?([A-Z][A-Z0-9_]+)=", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE))
    assert named <= known_names()


def test_every_websocket_client_can_be_chosen_and_nothing_else() -> None:
    for name in WS_CLIENTS:
        assert load_settings({"WS_CLIENT": name}, None).house.ws_client == name
    assert load_settings({}, None).house.ws_client in WS_CLIENTS
    (problem,) = problems_of({"WS_CLIENT": "picows"})
    assert all(name in problem for name in WS_CLIENTS)


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("2026-12-01T02:00Z/2026-12-01T03:00Z", "2026-12-01T02:59:59Z", "2026-12-01T03:00:00Z"),
        ("2026-12-01T02:00+02:00/2026-12-01T03:00+02:00", "2026-12-01T00:30:00Z", "2026-12-01T02:30:00Z"),
        ("WED 02:00-03:00", "2026-12-02T02:00:00Z", "2026-12-03T02:30:00Z"),
        ("SUN 23:30-00:30", "2026-12-07T00:15:00Z", "2026-12-06T00:15:00Z"),
    ],
)
def test_a_maintenance_window_covers_what_it_says(text: str, inside: str, outside: str) -> None:
    (window,) = parse_windows(text)
    assert window.covers(datetime.fromisoformat(inside).timestamp())
    assert not window.covers(datetime.fromisoformat(outside).timestamp())
    assert window.text == text


@pytest.mark.parametrize(
    "text",
    ["WED", "ABC 02:00-03:00", "WED 02:00-02:00", "WED 24:00-25:00", "2026-12-01T02:00/2026-12-01T03:00", "x/y",
     "2026-12-01T03:00Z/2026-12-01T02:00Z", "WED 02:00-03:00,"],
)
def test_a_window_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_windows(text)


@pytest.mark.parametrize("token", ["m" * 31, " " * 40, "m" * 40 + " ", "м\n" * 20, "t" * 40])
def test_a_scrapers_token_that_is_short_unusable_or_the_operators_is_refused(token: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings({"METRICS_TOKEN": token, "API_TOKEN": "t" * 40}, None)
    assert "METRICS_TOKEN" in str(refused.value)
    assert "ttt" not in str(refused.value)
    assert "mmm" not in str(refused.value)


CHAT = {"TELEGRAM_BOT_TOKEN": "123456:ABC-DEF_1", "TELEGRAM_CHAT_ID": "4711"}


def test_telegram_is_off_by_default_and_needs_token_and_chat() -> None:
    assert not load_settings({}, None).telegram.on
    empty = load_settings({"TELEGRAM_BOT_TOKEN": "", "TELEGRAM_CHAT_ID": "", "TELEGRAM_API_BASE": ""}, None)
    assert (empty.telegram.on, empty.warnings) == (False, ()), "compose files pass such"
    settings = load_settings({**CHAT, "TELEGRAM_API_BASE": "http://127.0.0.1:8081/"}, None)
    assert (settings.telegram.on, settings.telegram.chat_id, settings.telegram.in_group) == (True, 4711, False)
    assert settings.telegram.api_base == "http://127.0.0.1:8081"
    assert "ABC" not in repr(settings)
    for name, other in (tuple(CHAT), tuple(CHAT)[::-1]):
        problem = f"{other} is not set, but {name} is: accepted: both of them, or neither"
        assert problems_of({name: CHAT[name]}) == (problem,)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TELEGRAM_BOT_TOKEN", "123/../456"), ("TELEGRAM_BOT_TOKEN", "12 34"), ("TELEGRAM_CHAT_ID", "0"),
        ("TELEGRAM_CHAT_ID", "@ops"), ("TELEGRAM_CHAT_ID", "1.5"), ("TELEGRAM_API_BASE", "http://api.telegram.org"),
        ("TELEGRAM_API_BASE", "https://user:pw@example.org"), ("TELEGRAM_API_BASE", "ftp://127.0.0.1"),
        ("TELEGRAM_API_BASE", "https://"),
    ],
)
def test_a_bad_telegram_setting_is_named_and_a_token_is_not_shown(name: str, value: str) -> None:
    (problem,) = problems_of({**CHAT, name: value})
    shown = "(not shown)" if name == "TELEGRAM_BOT_TOKEN" else value
    assert problem.startswith(f"{name}={shown}: accepted: "), problem


def test_a_group_in_which_nobody_is_listed_is_a_warning(tmp_path: Path) -> None:
    group = {**CHAT, "TELEGRAM_CHAT_ID": "-1001"}
    (warning,) = load_settings(group, None).warnings
    assert "can look and /pause, and nothing else" in warning
    path = tmp_path / "operators.json"
    path.touch(mode=0o600)
    digest = hashlib.sha256(b"x").hexdigest()
    path.write_text(json.dumps([{"name": "ann", "role": "operator", "token_sha256": digest, "telegram_id": 7}]))
    assert load_settings({**group, "OPERATORS_FILE": str(path)}, None).warnings == ()


SEAL = "ab" * 32


@pytest.mark.parametrize("spelling", [SEAL, SEAL.upper(), "q6ur" * 10 + "q6s=", "q6ur" * 10 + "q6s"])
def test_the_key_that_seals_secrets_is_hex_or_base64(spelling: str) -> None:
    key = load_settings({"SECRETS_KEY": spelling}, None).sealing.key
    assert key is not None
    assert spelling not in repr(key)


@pytest.mark.parametrize("spelling", ["ab" * 31, "ab" * 33, "g" * 64, "secret", "q6ur" * 10])
def test_another_key_that_seals_is_refused_and_not_shown(spelling: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings({"SECRETS_KEY": spelling}, None)
    assert "SECRETS_KEY=(not shown): accepted: 32 bytes" in str(refused.value)
    assert spelling not in str(refused.value)


def test_a_file_for_that_key_is_sound_alone_and_not_with_the_data(tmp_path: Path) -> None:
    good = tmp_path / "seal.key"
    good.write_text(SEAL + "\n")
    good.chmod(0o400)
    settings = load_settings({"SECRETS_KEY_FILE": str(good), "DATA_DIR": str(tmp_path / "data")}, None)
    assert settings.sealing.key_file == good
    assert settings.warnings == ()
    good.chmod(0o644)
    warned = load_settings({"SECRETS_KEY_FILE": str(good), "DATA_DIR": str(tmp_path / "data")}, None)
    assert any("chmod 400" in each for each in warned.warnings)
    (tmp_path / "bad.key").write_text("no key")
    for environ, said in (
        ({"SECRETS_KEY_FILE": str(good), "SECRETS_KEY": SEAL}, "both set"),
        ({"SECRETS_KEY_FILE": str(tmp_path / "bad.key")}, "holds no such key"),
        ({"SECRETS_KEY_FILE": str(tmp_path / "none.key")}, "No such file"),
        ({"SECRETS_KEY_FILE": str(good), "DATA_DIR": str(tmp_path)}, "lies in DATA_DIR"),
    ):
        with pytest.raises(SettingsError) as refused:
            load_settings(environ, None)
        assert said in str(refused.value)


def test_only_paper_has_a_place_where_a_key_may_be_made() -> None:
    home = {"HOME": "/home/ann"}
    assert load_settings(home, None).sealing.paper_key_file == Path("/home/ann/.config/propbot/paper-secrets.key")
    elsewhere = load_settings({**home, "XDG_CONFIG_HOME": "/etc/ann"}, None)
    assert elsewhere.sealing.paper_key_file == Path("/etc/ann/propbot/paper-secrets.key")
    assert load_settings({}, None).sealing.paper_key_file is None
    assert load_settings({**home, "PROFILE": "testnet", "API_TOKEN": "t" * 40}, None).sealing.paper_key_file is None
