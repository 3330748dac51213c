"""Operators' values over a restart: they survive, unless the environment changed its mind meanwhile."""

from __future__ import annotations

from decimal import Decimal

import pytest

from propbot.control.parameters import (
    PARAMETERS,
    Parameters,
    ParameterValue,
    apply_parameters,
    choose_parameters,
    value_text,
)
from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM
from propbot.settings import load_settings

ENVIRONMENT = {
    "order_notional_usdt": "1000", "min_spread_bps": "1", "max_slippage_bps": "2", "poll_interval_sec": "1",
    "loop_venues": "binance-um,binance-spot", "drain_timeout_sec": "60",
}  # fmt: skip


def test_without_a_past_the_environment_holds() -> None:
    chosen = choose_parameters(load_settings({}, None), None)
    assert chosen.parameters == Parameters(ENVIRONMENT, {})
    assert chosen.told == []


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_value_that_an_operator_set_survives_a_restart_and_is_said(name: str) -> None:
    value: ParameterValue = (BINANCE_SPOT,) if name == "loop_venues" else Decimal("7.50")
    kept = value_text(value)
    settings = load_settings({}, None)
    stored = choose_parameters(settings, None).parameters.patch({name: value})
    chosen = choose_parameters(settings, stored)
    assert chosen.parameters == Parameters(ENVIRONMENT, {name: kept})
    assert [name in text and kept in text for text in chosen.told] == [True]
    applied = choose_parameters(apply_parameters(settings, chosen.parameters.patched), None).parameters.environment
    assert applied == {**ENVIRONMENT, name: kept}


def test_venues_that_the_environment_no_longer_starts_are_given_up_and_said_so() -> None:
    stored = choose_parameters(load_settings({}, None), None).parameters.patch({"loop_venues": (BINANCE_SPOT,)})
    chosen = choose_parameters(load_settings({"LOOP_VENUES": "binance-um"}, None), stored)
    assert chosen.parameters.patched == {}
    (told,) = chosen.told
    assert told.startswith("LOOP_VENUES changed in the environment, binance-um,binance-spot -> binance-um: ")
    assert told.endswith("an operator's binance-spot is over")


def test_venues_come_back_in_the_type_that_the_settings_have() -> None:
    settings = apply_parameters(load_settings({}, None), {"loop_venues": "binance-um"})
    assert settings.trading.venues == (BINANCE_UM,)


def test_an_environment_that_changed_wins_for_that_setting_alone() -> None:
    stored = choose_parameters(load_settings({}, None), None).parameters.patch(
        {"order_notional_usdt": Decimal(700), "min_spread_bps": Decimal(3)}
    )
    chosen = choose_parameters(load_settings({"ORDER_NOTIONAL_USDT": "500"}, None), stored)
    assert chosen.parameters.patched == {"min_spread_bps": "3"}
    assert any("ORDER_NOTIONAL_USDT changed in the environment, 1000 -> 500" in text for text in chosen.told)
    again = choose_parameters(load_settings({}, None), chosen.parameters)
    assert again.parameters.patched == {"min_spread_bps": "3"}, "what was given up does not come back"


def test_the_same_number_in_another_spelling_is_no_change() -> None:
    stored = choose_parameters(load_settings({"POLL_INTERVAL_SEC": "0.50"}, None), None).parameters
    stored = stored.patch({"poll_interval_sec": 0.25})
    chosen = choose_parameters(load_settings({"POLL_INTERVAL_SEC": "0.5"}, None), stored)
    assert chosen.parameters.patched == {"poll_interval_sec": "0.25"}


@pytest.mark.parametrize(
    ("name", "text"),
    [("order_notional_usdt", "0"), ("min_spread_bps", "NaN"), ("poll_interval_sec", "61"), ("colour", "red"),
     ("loop_venues", "okx-perp"), ("loop_venues", "binance-um,binance-um"), ("loop_venues", "")],
)
def test_a_stored_value_that_this_version_does_not_take_is_given_up_and_said(name: str, text: str) -> None:
    chosen = choose_parameters(load_settings({}, None), Parameters({**ENVIRONMENT, "colour": "red"}, {name: text}))
    assert chosen.parameters.patched == {}
    assert "given up" in chosen.told[0]
