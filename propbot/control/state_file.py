"""`runtime_state.json`: mode, HOLD record and basis, whole or not at all, so that a kill at any moment is survived.

A file that is torn, of another schema or not ours is never guessed at: it becomes a HOLD that says so.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from attrs import frozen

from propbot.control.modes import ModeView
from propbot.domain.mode import CancelResult, Cause, HoldRecord, Mode
from propbot.kit.crash import CrashPoints
from propbot.kit.disk import ReplaceFile, replace_file
from propbot.spread.reference import BasisState

SCHEMA = 1
FILE_NAME = "runtime_state.json"


@frozen
class RuntimeState:
    view: ModeView
    basis: BasisState | None
    generation: int
    """Grows with each write, over restarts too."""


class BadStateFile(Exception):
    """The file is there and can't be used; the message says why."""


def encode_state(state: RuntimeState) -> bytes:
    hold = state.view.hold
    body: dict[str, Any] = {
        "schema": SCHEMA,
        "generation": state.generation,
        "mode": str(state.view.mode),
        "before": str(state.view.before),
        "safe_mode": state.view.safe_mode,
        "dry_run_only": state.view.dry_run_only,
        "hold": None,
        "basis": None,
    }
    if hold is not None:
        body["hold"] = {
            "causes": [{"reason": c.reason, "source": c.source, "since_ns": c.since_ns} for c in hold.causes],
            "cancel": None if hold.cancel is None else {
                "left": hold.cancel.left, "seconds": hold.cancel.seconds,
                "not_read_back": list(hold.cancel.not_read_back),
            },
        }
    if state.basis is not None:
        body["basis"] = {
            "value_bps": state.basis.value_bps, "weight_s": state.basis.weight_s,
            "observed_s": state.basis.observed_s, "wall_ns": state.basis.wall_ns,
        }
    return json.dumps({**body, "checksum": _checksum(body)}, indent=1).encode()


def decode_state(content: bytes) -> RuntimeState:
    """BadStateFile for anything but a whole file of this schema."""
    try:
        body = json.loads(content)
        checksum = body.pop("checksum")
        if checksum != _checksum(body):
            raise BadStateFile("its checksum does not match: it was torn or edited")
        if body["schema"] != SCHEMA:
            raise BadStateFile(f"schema {body['schema']!r}, this version knows {SCHEMA}")
        hold = body["hold"]
        record = None
        if hold is not None:
            cancel = None if hold["cancel"] is None else CancelResult(**hold["cancel"])
            record = HoldRecord(tuple(Cause(**cause) for cause in hold["causes"]), cancel)
        basis = None if body["basis"] is None else BasisState(**body["basis"])
        view = ModeView(
            Mode(body["mode"]), bool(body["safe_mode"]), bool(body["dry_run_only"]), record, Mode(body["before"])
        )
        if (view.mode is Mode.HOLD) != (record is not None):
            raise BadStateFile(f"mode {view.mode} with hold {record}")
        return RuntimeState(view, basis, int(body["generation"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadStateFile(f"not a runtime state: {type(error).__name__}: {error}") from None


def load_state(folder: Path) -> RuntimeState | None:
    """None if there is none yet; BadStateFile names the file and why it can't be used."""
    path = folder / FILE_NAME
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadStateFile(f"{path}: {error.strerror}") from None
    try:
        return decode_state(content)
    except BadStateFile as error:
        raise BadStateFile(f"{path}: {error}") from None


def save_state(
    folder: Path, state: RuntimeState, crash: CrashPoints, replace: ReplaceFile = replace_file
) -> None:
    """Blocking; called in the state worker. OSError if the disk fails."""
    replace(folder / FILE_NAME, encode_state(state), crash)


def _checksum(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
