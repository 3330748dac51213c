"""The deployment's files at work: the service from its example of `.env`, and the image on a container engine.

The engine is used where one answers and a base image is at hand (BASE_IMAGE, else python:3.12-slim); no registry of
images is asked. PIP_OPTIONS and a `wheelhouse/` in the project's root serve a build without a network.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.deploy_rules import read_example
from tests.e2e.processes import free_port, running_bot

ROOT = Path(__file__).parents[2]
TOKEN = "f" * 48
BASE_IMAGE = os.environ.get("BASE_IMAGE", "python:3.12-slim")
IMAGE = "propbot:under-test"


def test_the_service_starts_from_the_example_in_hold_and_sends_nothing(tmp_path: Path) -> None:
    settings = read_example(ROOT / "deploy" / "env.example.prod", {"CHANGE_ME_API_TOKEN": TOKEN})
    with running_bot(tmp_path, **settings) as bot:
        assert bot.http.get("/api/ui/status/overview").status_code == 401
        bot.http.headers["Authorization"] = f"Bearer {TOKEN}"
        overview = bot.get("/api/ui/status/overview")
        assert (overview["overall"], overview["mode"], overview["profile"]) == ("HOLD", "HOLD", "paper")
        assert overview["safe_mode"]
        assert overview["dry_run_only"]
        assert bot.items("/api/ui/orders") == []
        code, seconds = bot.terminate()
        assert code == 0
        assert seconds < 5


def docker(*args: str, within_s: float = 60, check: bool = True) -> str:
    ran = subprocess.run(["docker", *args], capture_output=True, text=True, timeout=within_s)
    assert not check or ran.returncode == 0, f"docker {' '.join(args)}: {ran.stdout}{ran.stderr}"
    return ran.stdout.strip() or ran.stderr.strip()


def require_engine() -> None:
    if shutil.which("docker") is None or subprocess.run(["docker", "info"], capture_output=True).returncode != 0:
        pytest.skip("no container engine answers: the image was not built")
    if docker("images", "-q", BASE_IMAGE) == "":
        pytest.skip(f"the base image {BASE_IMAGE} is not at hand: the image was not built")


def run_options(data: Path) -> list[str]:
    """What the compose file says, as options of `docker run`."""
    service = yaml.safe_load((ROOT / "deploy" / "docker-compose.prod.yml").read_text())["services"]["propbot"]
    own = {"DATA_DIR": "/app/data", "TRUSTED_PROXY": "true"}
    example = read_example(ROOT / "deploy" / "env.example.prod", {"CHANGE_ME_API_TOKEN": TOKEN})
    options = ["--user", service["user"], "--read-only", "--pids-limit", str(service["pids_limit"])]
    options += ["--memory", service["mem_limit"], "--ulimit", "core=0", "--network", "host"]
    options += [f"--tmpfs={each}" for each in service["tmpfs"]] + [f"--cap-drop={each}" for each in service["cap_drop"]]
    options += [f"--security-opt={each}" for each in service["security_opt"]]
    for name, value in {**example, **own, "API_PORT": str(free_port())}.items():
        options += ["--env", f"{name}={value}"]
    return [*options, "--volume", f"{data}:/app/data"]


@pytest.fixture
def container(tmp_path: Path) -> Iterator[str]:
    require_engine()
    pip_options = os.environ.get("PIP_OPTIONS", "")
    docker(
        "build", "-q", "-f", str(ROOT / "deploy" / "Dockerfile"), "-t", IMAGE, "--network", "host",
        "--build-arg", f"BASE_IMAGE={BASE_IMAGE}", "--build-arg", f"PIP_OPTIONS={pip_options}", str(ROOT),
        within_s=900,
    )  # fmt: skip
    data = tmp_path / "data"
    data.mkdir()
    os.chown(data, 1000, 1000)
    id = docker("run", "--detach", *run_options(data), IMAGE, within_s=300)  # an engine may copy the image first
    try:
        yield id
    finally:
        docker("rm", "--force", id, check=False, within_s=300)


@pytest.mark.timeout(1200)
def test_the_image_is_healthy_writes_nowhere_else_and_stops_in_order(container: str) -> None:
    until = time.monotonic() + 120
    while (health := docker("inspect", "-f", "{{.State.Health.Status}}", container)) != "healthy":
        assert time.monotonic() < until, f"{health}: {docker('logs', container)[-2000:]}"
        time.sleep(1)
    port = docker("exec", container, "printenv", "API_PORT")
    ctl = ("exec", "--env", f"PROPBOT_BASE_URL=http://127.0.0.1:{port}", container, "propbotctl")
    told = json.loads(docker(*ctl, "status", "--json"))
    assert (told["mode"], told["safe_mode"]) == ("HOLD", True)
    assert docker("exec", container, "id", "-u") == "1000"
    assert "Read-only file system" in docker("exec", container, "touch", "/app/x", check=False)
    docker("exec", container, "touch", "/tmp/x", "/app/data/x")
    status = docker("exec", container, "cat", "/proc/1/status")
    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    began = time.monotonic()
    docker("stop", "--time", "40", container)
    assert time.monotonic() - began < 20
    assert docker("inspect", "-f", "{{.State.ExitCode}}", container) == "0"
    assert TOKEN not in docker("logs", container)
