"""The parameters that operators change while it runs, and which value holds after a restart (DESIGN section 9).

A changed value survives, unless that setting in the environment changed since the last start; then the environment
wins, and it is said. To know that, the state keeps beside the operators' values what the environment said at the
start. Values are compared as text in one spelling, so that 1000 and 1000.0 are no change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from attrs import Factory, evolve, frozen

from propbot.domain.instruments import VenueId
from propbot.domain.money import amount_text, parse_amount
from propbot.settings import Settings, Start, Trading
from propbot.settings_groups import Group

_TRADING, _START = "trading", "start"
_VENUES = "loop_venues"
PARAMETERS: Mapping[str, tuple[str, str]] = {
    "order_notional_usdt": (_TRADING, "order_notional_usdt"),
    "min_spread_bps": (_TRADING, "min_spread_bps"),
    "max_slippage_bps": (_TRADING, "max_slippage_bps"),
    "poll_interval_sec": (_TRADING, "poll_interval_s"),
    _VENUES: (_TRADING, "venues"),
    "drain_timeout_sec": (_START, "drain_timeout_s"),
}
"""PATCH's name → the settings' group and field. In capital letters it is the setting's name."""

ParameterValue = Decimal | float | tuple[VenueId, ...]


@frozen
class Parameters:
    """What the state file keeps of them; replaced as a whole when an operator changes one."""

    environment: Mapping[str, str] = Factory(dict)
    """What the environment (or the default) said at the start, all of them."""
    patched: Mapping[str, str] = Factory(dict)
    """What operators set, and only that."""

    def patch(self, values: Mapping[str, ParameterValue]) -> Parameters:
        return evolve(self, patched={**self.patched, **{name: value_text(value) for name, value in values.items()}})


@frozen
class Chosen:
    """What holds at a start. `told` is for the journal: each value that is not the environment's, or was given up."""

    parameters: Parameters
    told: Sequence[str]


def value_text(value: ParameterValue) -> str:
    if isinstance(value, tuple):
        return ",".join(value)
    return amount_text(value if isinstance(value, Decimal) else Decimal(str(value)))


def choose_parameters(settings: Settings, stored: Parameters | None) -> Chosen:
    """`settings` as the environment gives them; `stored` as an earlier life left them."""
    environment = {name: _of_settings(settings, name) for name in PARAMETERS}
    patched: dict[str, str] = {}
    told: list[str] = []
    for name, text in ({} if stored is None else stored.patched).items():
        assert stored is not None
        now, then = environment.get(name), stored.environment.get(name)
        if now is not None and now != then:
            told.append(f"{name.upper()} changed in the environment, {then} -> {now}: an operator's {text} is over")
        elif now is None or not _legal(settings, name, text):
            told.append(f"{name}: the stored {text} is no value of this version and was given up")
        else:
            patched[name] = text
            if text != now:
                told.append(f"{name} is {text}, as an operator set it; the environment says {now}")
    return Chosen(Parameters(environment, patched), told)


def apply_parameters(settings: Settings, patched: Mapping[str, str]) -> Settings:
    """`settings` with the operators' values in them: what the parts are made from."""
    for name, text in patched.items():
        group_name, field = PARAMETERS[name]
        group = getattr(settings, group_name)
        value = _parse(text, getattr(group, field))
        settings = evolve(settings, **{group_name: group.model_copy(update={field: value})})
    return settings


def _of_settings(settings: Settings, name: str) -> str:
    group_name, field = PARAMETERS[name]
    return value_text(getattr(getattr(settings, group_name), field))


def _parse(text: str, like: ParameterValue) -> ParameterValue:
    """`value_text` undone, into the type of `like`."""
    if isinstance(like, tuple):
        return tuple(VenueId(name) for name in text.split(","))
    amount = parse_amount(text)
    return amount if isinstance(like, Decimal) else float(amount)


def _legal(settings: Settings, name: str, text: str) -> bool:
    """Within the setting's own bounds; they may be narrower in this version than in the one that stored it."""
    if name == _VENUES:
        venues = text.split(",")
        return len(set(venues)) == len(venues) and set(venues) <= set(settings.trading.venues)
    group_name, field = PARAMETERS[name]
    group: type[Group] = Trading if group_name == _TRADING else Start
    try:
        amount = parse_amount(text)
    except ValueError:
        return False
    metadata = group.model_fields[field].metadata
    low = max(each.ge for each in metadata if getattr(each, "ge", None) is not None)
    high = min(each.le for each in metadata if getattr(each, "le", None) is not None)
    return bool(low <= amount <= high)
