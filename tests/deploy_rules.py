"""What must be true of the container's files, read as what they are: YAML, Dockerfile instructions, settings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

GRACE_S_MIN = 30
_INSTRUCTION = re.compile(r"^([A-Z]+)\s+(.*)$", re.DOTALL)


def compose_problems(path: Path) -> list[str]:
    """Each rule that the service in this compose file breaks."""
    service: dict[str, Any] = yaml.safe_load(path.read_text())["services"]["propbot"]
    rules = {
        "user 1000:1000": service.get("user") == "1000:1000",
        "read_only": service.get("read_only") is True,
        "tmpfs /tmp": any(str(each).split(":")[0] == "/tmp" for each in service.get("tmpfs", ())),
        "cap_drop ALL": service.get("cap_drop") == ["ALL"] and "cap_add" not in service,
        "no-new-privileges": "no-new-privileges:true" in service.get("security_opt", ()),
        "not privileged": not service.get("privileged") and "network_mode" not in service and "pid" not in service,
        "pids limit": 0 < int(service.get("pids_limit", 0)) <= 1000,
        "memory limit": _bytes(str(service.get("mem_limit", "0"))) > 0,
        "stop_grace_period": _seconds(str(service.get("stop_grace_period", "0s"))) >= GRACE_S_MIN,
        "only ../data is mounted": service.get("volumes") == ["../data:/app/data"],
        "published on loopback alone": all(str(port).startswith("127.0.0.1:") for port in service["ports"]),
        ".env reaches it": service.get("env_file") == ["../.env"],
        "the data directory": service["environment"].get("DATA_DIR") == "/app/data",
        "no core files": service.get("ulimits", {}).get("core") == 0,
        "logs are bounded": {"max-size", "max-file"} <= set(service.get("logging", {}).get("options", {})),
    }
    return [rule for rule, holds in rules.items() if not holds]


def dockerfile_problems(path: Path) -> list[str]:
    stages: list[list[tuple[str, str]]] = [[]]
    for name, text in _instructions(path.read_text()):
        if name == "FROM":
            stages.append([])
        stages[-1].append((name, text))
    last = stages[-1]
    said = dict(last)
    rules = {
        "two stages": len(stages) == 3,
        "base image by ARG": ("ARG", "BASE_IMAGE=python:3.12-slim") in stages[0],
        "user 1000:1000": said.get("USER") == "1000:1000",
        "nothing runs after USER": [name for name, _ in last].index("USER") > max(
            at for at, (name, _) in enumerate(last) if name in ("RUN", "COPY")
        ),
        "no shell in front": said.get("ENTRYPOINT", "").startswith("[") and said.get("CMD", "").startswith("["),
        "a health check without a shell": "/healthz" in said.get("HEALTHCHECK", "")
        and re.search(r"CMD\s+\[", said.get("HEALTHCHECK", "")) is not None,
        "the data directory": "DATA_DIR=/app/data" in said.get("ENV", ""),
        "only what was built is taken": [text for name, text in last if name == "COPY"]
        == ["--from=build /app/venv /app/venv"],
        "no secret": not re.search(r"(TOKEN|SECRET|API_KEY)", path.read_text()),
    }
    return [rule for rule, holds in rules.items() if not holds]


def _instructions(text: str) -> list[tuple[str, str]]:
    joined = re.sub(r"\\\n", " ", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    found = [_INSTRUCTION.match(line) for line in joined.splitlines() if line.strip()]
    return [(each[1], " ".join(each[2].split())) for each in found if each is not None]


def read_example(path: Path, fill: dict[str, str]) -> dict[str, str]:
    return read_settings(path.read_text(), fill)


def read_settings(text: str, fill: dict[str, str]) -> dict[str, str]:
    """The settings of such a file, with its placeholders filled in; KeyError for one that is not in `fill`."""
    settings: dict[str, str] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.partition("=")
            settings[name] = fill[value] if value.startswith("CHANGE_ME_") else value
    return settings


def _bytes(text: str) -> int:
    return int(text.rstrip("bkmg") or 0)


def _seconds(text: str) -> int:
    return int(text.removesuffix("s"))
