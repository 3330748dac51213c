"""`runtime_state.json`: mode, HOLD record, basis, counters, operators' parameters and the journal's head, whole or not
at all, so that a kill at any moment is survived.

A file that is torn, of a later schema or not ours is never guessed at: it becomes a HOLD that says so. Files of
earlier schemas are read; what they do not have is empty.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import Factory, asdict, frozen

from propbot.control.modes import ModeView
from propbot.control.parameters import Parameters
from propbot.domain.events import Head
from propbot.domain.mode import CancelResult, Cause, HoldRecord, Mode
from propbot.kit.crash import CrashPoints
from propbot.kit.disk import ReplaceFile, replace_file
from propbot.spread.reference import BasisState

SCHEMA = 2
SINCE_SCHEMA_2: Mapping[str, Any] = {
    "counters": {}, "parameters": {"environment": {}, "patched": {}}, "audit_head": None,
}
FILE_NAME = "runtime_state.json"


@frozen
class RuntimeState:
    view: ModeView
    basis: BasisState | None
    generation: int
    """Grows with each write, over restarts too."""
    counters: Mapping[str, str] = Factory(dict)
    parameters: Parameters = Factory(Parameters)
    head: Head | None = None
    """The journal's last row that was known to be durable: a ledger that lacks it was cut, or is an older copy."""
    ended: bool = True
    """The life that wrote it had been asked to stop. A file of an earlier version does not say: nothing is claimed."""


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
        "hold": None if hold is None else asdict(hold),
        "basis": None if state.basis is None else asdict(state.basis),
        "counters": dict(state.counters),
        "parameters": asdict(state.parameters),
        "audit_head": None if state.head is None else asdict(state.head),
        "ended": state.ended,
    }
    return json.dumps({**body, "checksum": _checksum(body)}, indent=1).encode()


def decode_state(content: bytes) -> RuntimeState:
    """BadStateFile for anything but a whole file of this schema or an earlier one."""
    try:
        body = json.loads(content)
        checksum = body.pop("checksum")
        if checksum != _checksum(body):
            raise BadStateFile("its checksum does not match: it was torn or edited")
        return _read(_as_ours(body))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadStateFile(f"not a runtime state: {type(error).__name__}: {error}") from None


def _as_ours(body: dict[str, Any]) -> dict[str, Any]:
    schema = body["schema"]
    if schema == 1 and schema is not True:
        return {**body, **SINCE_SCHEMA_2}
    if schema != SCHEMA:
        raise BadStateFile(f"schema {schema!r}, this version knows 1 to {SCHEMA}: start the PropBot that wrote it")
    return body


def _read(body: Mapping[str, Any]) -> RuntimeState:
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
    kept = body["parameters"]
    parameters = Parameters(_texts(kept["environment"]), _texts(kept["patched"]))
    head = None if body["audit_head"] is None else Head(int(body["audit_head"]["id"]), str(body["audit_head"]["hash"]))
    ended = body.get("ended", True) is True
    return RuntimeState(view, basis, int(body["generation"]), _texts(body["counters"]), parameters, head, ended)


def _texts(given: Any) -> dict[str, str]:
    wrong = [name for name, value in given.items() if not isinstance(value, str)]
    if wrong:
        raise BadStateFile(f"{', '.join(wrong)}: not a text")
    return dict(given)


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
