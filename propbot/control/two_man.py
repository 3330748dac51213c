"""The Two-Man Rule's terms: what needs a second person, how that change is written down, and what it is bound to.

Pure. Tightening (HOLD, DRAIN from RUN, setting a flag) never needs anybody else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import attrs
from attrs import frozen

from propbot.control.modes import ModeView
from propbot.domain.instruments import VenueId
from propbot.domain.mode import Mode
from propbot.status.desk import ControlPatch

_DECIMALS = ("order_notional_usdt", "min_spread_bps", "max_slippage_bps")


@frozen
class Bond:
    """What was so when a change was proposed; once it is no longer so, the proposal is void."""

    holds: int
    """`ModeKeeper.holds`: any HOLD in between counts, also one more cause of the HOLD that was on."""
    safeties: int
    """`ModeKeeper.safeties`: a proposal that clears both flags was not made to clear the one that was set since."""
    mode: Mode
    settings_digest: str

    def broken_by(self, now: Bond) -> str:
        """Why it no longer holds; empty while it does."""
        if now.holds != self.holds:
            return "a HOLD came in between"
        if now.safeties != self.safeties:
            return "safe_mode or dry_run_only was set in between"
        if now.mode is not self.mode:
            return f"the mode changed to {now.mode} in between"
        if now.settings_digest != self.settings_digest:
            return "limits or parameters changed in between"
        return ""


def needs_second_person(patch: ControlPatch, view: ModeView) -> bool:
    leaves_hold = view.mode is Mode.HOLD and patch.mode in (Mode.RUN, Mode.DRAIN)
    clears = (patch.safe_mode is False and view.safe_mode) or (patch.dry_run_only is False and view.dry_run_only)
    return leaves_hold or clears


def change_of(patch: ControlPatch) -> dict[str, Any]:
    """The exact change under the names that PATCH takes, amounts as text. A HOLD is no part of it: it is in force
    already."""
    asked = {name: value for name, value in attrs.asdict(patch, recurse=False).items() if value not in (None, "")}
    if patch.mode is Mode.HOLD:
        del asked["mode"]
        asked.pop("reason", None)
    return {name: _plain(value) for name, value in asked.items()}


def patch_of(change: Mapping[str, Any]) -> ControlPatch:
    """What `change_of` wrote down."""
    asked = dict(change)
    asked |= {name: Decimal(asked[name]) for name in _DECIMALS if name in asked}
    if "mode" in asked:
        asked["mode"] = Mode(asked["mode"])
    if "loop_venues" in asked:
        asked["loop_venues"] = tuple(VenueId(name) for name in asked["loop_venues"])
    return ControlPatch(**asked)


def digest_settings(**groups: object) -> str:
    """SHA-256 over the settings that decide what may be risked, whatever types they are kept in."""
    text = json.dumps(groups, sort_keys=True, separators=(",", ":"), default=_settings)
    return hashlib.sha256(text.encode()).hexdigest()


def digest_change(change: str, settings_digest: str) -> str:
    """What proposal and approval have in common."""
    return hashlib.sha256(f"{settings_digest}\n{change}".encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value, "f")
    return list(value) if isinstance(value, tuple) else value


def _settings(value: Any) -> Any:
    if attrs.has(type(value)):
        return attrs.asdict(value, recurse=False)
    return value.model_dump() if hasattr(value, "model_dump") else str(value)
