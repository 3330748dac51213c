"""The container's files hold the rules of the threat model, and their example of `.env` is one that starts safely."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from propbot.domain.errors import SettingsError
from propbot.domain.mode import Mode
from propbot.settings import load_settings
from propbot.settings_groups import known_names
from tests.deploy_rules import compose_problems, dockerfile_problems, read_example, read_settings

ROOT = Path(__file__).parents[2]
COMPOSE, DOCKERFILE = ROOT / "deploy" / "docker-compose.prod.yml", ROOT / "deploy" / "Dockerfile"
EXAMPLE = ROOT / "deploy" / "env.example.prod"
FILL = {"CHANGE_ME_API_TOKEN": "f" * 48}


def test_the_compose_file_holds_every_rule():
    assert compose_problems(COMPOSE) == []


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ('user: "1000:1000"', 'user: "0:0"', "user 1000:1000"),
        ("read_only: true", "read_only: false", "read_only"),
        ("      - ALL", "      - NET_RAW", "cap_drop ALL"),
        ("no-new-privileges:true", "seccomp:unconfined", "no-new-privileges"),
        ("stop_grace_period: 40s", "stop_grace_period: 10s", "stop_grace_period"),
        ('"127.0.0.1:${', '"${', "published on loopback alone"),
        ("../data:/app/data", "/:/host", "only ../data is mounted"),
        ("- ../.env", "- .env", ".env reaches it"),
        ("pids_limit: 128", "pids_limit: 0", "pids limit"),
        ("mem_limit: 1g", "mem_limit: 0", "memory limit"),
        ("- /tmp:size", "- /var:size", "tmpfs /tmp"),
    ],
)
def test_a_compose_file_that_breaks_a_rule_is_found(tmp_path, old, new, rule):
    text = COMPOSE.read_text()
    assert old in text
    broken = tmp_path / "compose.yml"
    broken.write_text(text.replace(old, new))
    assert rule in compose_problems(broken)


def test_the_dockerfile_holds_every_rule():
    assert dockerfile_problems(DOCKERFILE) == []


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("USER 1000:1000", "USER root", "user 1000:1000"),
        ('ENTRYPOINT ["propbot"]', "ENTRYPOINT propbot", "no shell in front"),
        ("/healthz", "/", "a health check without a shell"),
        ("python:3.12-slim", "python:latest", "base image by ARG"),
    ],
)
def test_a_dockerfile_that_breaks_a_rule_is_found(tmp_path, old, new, rule):
    broken = tmp_path / "Dockerfile"
    broken.write_text(DOCKERFILE.read_text().replace(old, new))
    assert rule in dockerfile_problems(broken)


def test_what_is_built_from_holds_no_secret_and_no_data():
    kept = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert kept[0] == "*"
    allowed = {line.removeprefix("!") for line in kept if line.startswith("!")}
    assert allowed == {"pyproject.toml", "README.md", "LICENSE", "propbot", "propbotctl", "wheelhouse"}


def test_the_example_starts_in_hold_with_both_safeties_on(tmp_path):
    settings = load_settings(read_example(EXAMPLE, FILL), None)
    assert settings.start.mode is Mode.HOLD
    assert settings.start.safe_mode
    assert settings.start.dry_run_only
    assert settings.warnings == ()


def test_the_example_with_the_containers_own_settings_starts_too():
    own = yaml.safe_load(COMPOSE.read_text())["services"]["propbot"]["environment"]
    plain = {name: re.sub(r"\$\{\w+:-(.*)\}", r"\1", str(value)) for name, value in own.items()}
    settings = load_settings({**read_example(EXAMPLE, FILL), **plain}, None)
    assert str(settings.house.data_dir) == "/app/data"
    assert settings.api.host == "0.0.0.0"


def test_a_placeholder_that_was_left_is_refused_by_name():
    with pytest.raises(SettingsError, match="API_TOKEN: is still the example's placeholder"):
        load_settings(read_example(EXAMPLE, {"CHANGE_ME_API_TOKEN": "CHANGE_ME_API_TOKEN"}), None)


@pytest.mark.parametrize("name", ["API_ALLOWED_HOSTS", "BINANCE_UM_API_KEY_TESTNET", "TELEGRAM_BOT_TOKEN"])
def test_so_is_one_that_would_pass_for_a_value(name):
    with pytest.raises(SettingsError, match=f"{name}: is still the example's placeholder") as refused:
        load_settings({**read_example(EXAMPLE, FILL), name: f"CHANGE_ME_{name}"}, None)
    assert sum(name in each for each in refused.value.problems) == 1


def test_what_compose_reads_from_the_same_file_is_nothing_to_warn_of(tmp_path):
    env = tmp_path / ".env"
    env.write_text("COMPOSE_PROJECT_NAME=paper\nPROPBOT_PORT=8001\nPROPBOT_TAG=old\nPROPBOT_PORTS=1\n")
    assert load_settings({}, env).warnings == ("PROPBOT_PORTS is no setting of this version and was ignored",)


def test_every_name_in_the_example_is_a_setting_and_every_placeholder_says_its_name():
    found = re.findall(r"^#?([A-Z][A-Z_]+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE)
    assert {name for name, _ in found} <= known_names() | {"COMPOSE_PROJECT_NAME", "PROPBOT_PORT"}
    placeholders = {name: value for name, value in found if "CHANGE_ME" in value}
    assert placeholders == {name: f"CHANGE_ME_{name}" for name in placeholders}
    assert {"API_TOKEN", "BINANCE_UM_API_KEY_TESTNET", "TELEGRAM_BOT_TOKEN", "API_ALLOWED_HOSTS"} <= set(placeholders)


def test_the_example_with_everything_filled_in_starts_too_and_knows_its_host_and_proxy():
    """Each line that is commented out, taken in but for the Two-Man Rule and the keys of the other profiles."""
    text = EXAMPLE.read_text()
    for name in ("API_ALLOWED_HOSTS", "TRUSTED_PROXY", "TELEGRAM_BOT_TOKEN", "TELEGRAM_CHAT_ID"):
        assert f"\n#{name}=" in text
        text = text.replace(f"\n#{name}=", f"\n{name}=")
    fill = FILL | {
        "CHANGE_ME_API_ALLOWED_HOSTS": "propbot.example.com", "CHANGE_ME_TELEGRAM_CHAT_ID": "4242",
        "CHANGE_ME_TELEGRAM_BOT_TOKEN": "123456:" + "t" * 35,
    }
    api = load_settings(read_settings(text, fill) | {"API_HOST": "0.0.0.0"}, None).api
    assert "propbot.example.com" in api.hosts
    assert [str(network) for network in api.trusted_proxy.networks] == ["172.16.0.0/12"]
