"""The preflight against venues that answer, refuse or hang: what fails, what only warns, and that it ends in time."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
import trio
from attrs import define, evolve, field

from propbot.control.checks import DiskSeen, Preflight, PreflightRules
from propbot.control.preflight import PreflightRunner
from propbot.domain.account import KeyRights, MarginSetup
from propbot.domain.errors import AccessRefused, VenueError, VenueRetry
from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM, Instrument, Kind, VenueId
from propbot.domain.market import DepthSnapshot
from propbot.domain.orders import Balance
from propbot.kit.clock import VirtualClock

UM = Instrument(
    BINANCE_UM, "BTCUSDT", Kind.PERP, "BTC", "USDT", Decimal("0.1"), Decimal("0.001"), Decimal("0.001"), Decimal(1000),
    Decimal(100),
)
SPOT = Instrument(
    BINANCE_SPOT, "BTCUSDT", Kind.SPOT, "BTC", "USDT", Decimal("0.01"), Decimal("0.00001"), Decimal("0.00001"),
    Decimal(9000), Decimal(5),
)
CROSSED = MarginSetup(Decimal(20), isolated=False)
TRADE_ONLY = KeyRights(withdraw=False, trade=True, ip_bound=False)
ROOMY = DiskSeen(None, 50_000)
RULES = PreflightRules("BTCUSDT", 1000.0, 500, withdraw_refused=False)


@define(eq=False)
class Account:
    """A venue that says what the test wants, or raises it, or hangs."""

    listed: Instrument
    offset_ms: float = 3.0
    hedge_mode: bool | None = False
    setup: MarginSetup | None = CROSSED
    rights: KeyRights | None = TRADE_ONLY
    held: dict[str, str] = field(factory=lambda: {"USDT": "100000", "BTC": "2"})
    broken: dict[str, VenueError | None] = field(factory=dict)
    """Question → what it raises; None: it never answers."""

    async def _ask(self, what: str, answer: Any) -> Any:
        await trio.sleep(0.01)
        if what in self.broken:
            error = self.broken[what]
            if error is None:
                await trio.sleep_forever()
            else:
                raise error
        return answer

    async def measure_clock(self) -> float:
        return await self._ask("clock", self.offset_ms)

    async def instrument(self, symbol: str) -> Instrument:
        return await self._ask("instrument", self.listed)

    async def position_mode(self) -> bool | None:
        return await self._ask("position_mode", self.hedge_mode)

    async def margin(self, symbol: str) -> MarginSetup | None:
        return await self._ask("margin", self.setup)

    async def key_rights(self) -> KeyRights | None:
        return await self._ask("key_rights", self.rights)

    async def balances(self) -> Sequence[Balance]:
        rows = [Balance(self.listed.venue, asset, Decimal(qty)) for asset, qty in self.held.items()]
        return await self._ask("balances", rows)

    async def depth(self, symbol: str) -> DepthSnapshot:
        return await self._ask(
            "depth", DepthSnapshot(self.listed.venue, symbol, 1, [("59999", "1")], [("60001", "1")])
        )


@define(eq=False)
class Bench:
    um: Account = field(factory=lambda: Account(UM, rights=None))
    spot: Account = field(factory=lambda: Account(SPOT, hedge_mode=None, setup=None))
    disk: DiskSeen = ROOMY
    hangs: bool = False
    notional: Decimal = Decimal(1000)
    rules: PreflightRules = RULES
    marks: dict[VenueId, Decimal] = field(factory=dict)

    async def run(self) -> Preflight:
        async def look() -> DiskSeen:
            await (trio.sleep_forever() if self.hangs else trio.sleep(0))
            return self.disk

        runner = PreflightRunner(
            {BINANCE_UM: self.um, BINANCE_SPOT: self.spot}, self.rules, lambda: self.notional, self.marks.get, look,
            VirtualClock(0),
        )
        began = trio.current_time()
        result = await runner.run()
        assert trio.current_time() - began <= 5.0
        assert runner.last is result
        return result


async def test_all_well_passes_and_shows_every_measured_value(autojump_clock: Any) -> None:
    result = await Bench().run()
    assert (result.ok, result.failures, result.warnings) == (True, (), ())
    measured = result.measured
    assert measured["binance-um.clock_offset_ms"] == 3.0
    assert measured["binance-um.answered_in_ms"] == pytest.approx(10, abs=1)
    assert (measured["binance-um.position_mode"], measured["binance-um.margin_mode"]) == ("one-way", "crossed")
    assert measured["binance-um.leverage"] == 20
    assert measured["binance-spot.key_withdraws"] is False
    assert measured["binance-spot.balance_base"] == "2"
    assert measured["disk_free_mb"] == 50_000
    assert measured["smallest_order_usdt"] == 120.0
    assert "binance-spot.position_mode" not in measured, "what a venue does not have is not shown"


@pytest.mark.parametrize(
    ("change", "failure"),
    [
        ({"um": {"offset_ms": 1500.0}}, "binance-um: our clock differs by more than 1000 ms: set it right (NTP)"),
        ({"spot": {"offset_ms": -1001.0}}, "binance-spot: our clock differs by more than 1000 ms: set it right (NTP)"),
        ({"um": {"listed": evolve(UM, status="BREAK")}}, "binance-um: BTCUSDT is BREAK"),
        (
            {"um": {"hedge_mode": True}},
            "binance-um: the account is in hedge mode, orders would be refused (-4061): set it to one-way",
        ),
        (
            {"spot": {"rights": KeyRights(withdraw=False, trade=False, ip_bound=True)}},
            "binance-spot: the key may not trade: permit it",
        ),
        ({"disk": DiskSeen("DATA_DIR=x: can't be written: Read-only file system", 900)}, "Read-only"),
        ({"disk": DiskSeen(None, 499)}, "DATA_DIR: less than DISK_FREE_MB=500 free"),
        ({"hangs": True}, "DATA_DIR: the disk does not answer"),
        ({"um": {"broken": {"clock": VenueRetry("binance-um", "no answer")}}}, "binance-um does not answer: no answer"),
        ({"um": {"broken": {"clock": None}}}, "binance-um does not answer"),
        ({"um": {"broken": {"margin": None}}}, "binance-um: leverage: no answer within 2 s"),
        (
            {"spot": {"broken": {"balances": AccessRefused("binance-spot", "bad key", http_status=401)}}},
            "binance-spot: balance_usdt could not be asked: bad key",
        ),
    ],
)  # fmt: skip
async def test_what_must_not_be_fails(change: dict[str, Any], failure: str, autojump_clock: Any) -> None:
    bench = Bench()
    for name, value in change.items():
        if isinstance(value, dict):
            for attribute, given in value.items():
                setattr(getattr(bench, name), attribute, given)
        else:
            setattr(bench, name, value)
    result = await bench.run()
    assert not result.ok
    assert [text for text in result.failures if failure in text], result.failures
    assert len(result.failures) == 1, "nothing else is blamed"


@pytest.mark.parametrize(
    ("um", "spot", "notional", "warning"),
    [
        ({"setup": MarginSetup(Decimal(5), isolated=True)}, {}, 1000, "binance-um: isolated margin"),
        ({"held": {"USDT": "40"}}, {}, 1000, "binance-um: USDT does not suffice for ORDER_NOTIONAL_USDT=1000"),
        ({}, {"held": {"USDT": "100000", "BTC": "0.01"}}, 1000, "binance-spot: BTC does not suffice"),
        ({}, {"held": {"BTC": "2"}}, 1000, "binance-spot: USDT does not suffice"),
        ({}, {}, 100, "smallest legal order is 0.002 BTC, more than ORDER_NOTIONAL_USDT=100: nothing can be opened"),
        ({}, {"rights": KeyRights(withdraw=True, trade=True, ip_bound=True)}, 1000, "the key can withdraw"),
        ({}, {"broken": {"key_rights": VenueError("binance-spot", "not found", http_status=404)}}, 1000, "not be read"),
    ],
)  # fmt: skip
async def test_what_only_should_not_be_is_a_warning(
    um: dict[str, Any], spot: dict[str, Any], notional: int, warning: str, autojump_clock: Any
) -> None:
    bench = Bench(notional=Decimal(notional))
    for account, changes in ((bench.um, um), (bench.spot, spot)):
        for attribute, given in changes.items():
            setattr(account, attribute, given)
    result = await bench.run()
    assert result.ok, result.failures
    (text,) = result.warnings
    assert warning in text


@pytest.mark.parametrize(
    "spot",
    [
        {"rights": KeyRights(withdraw=True, trade=True, ip_bound=True)},
        {"broken": {"key_rights": VenueError("binance-spot", "not found", http_status=404)}},
    ],
)
async def test_in_live_a_key_that_can_withdraw_or_whose_rights_cannot_be_read_is_refused(
    spot: dict[str, Any], autojump_clock: Any
) -> None:
    bench = Bench(rules=PreflightRules("BTCUSDT", 1000.0, 500, withdraw_refused=True))
    for attribute, given in spot.items():
        setattr(bench.spot, attribute, given)
    result = await bench.run()
    assert len(result.failures) == 1
    assert "key" in result.failures[0]


async def test_a_margin_of_twenty_carries_an_order_of_twenty_times_the_wallet(autojump_clock: Any) -> None:
    bench = Bench(notional=Decimal(1000))
    bench.um.held = {"USDT": "51"}
    assert (await bench.run()).warnings == ()


async def test_everything_hanging_at_once_ends_within_five_seconds_and_names_all_of_it(autojump_clock: Any) -> None:
    bench = Bench(hangs=True)
    bench.um.broken = bench.spot.broken = dict.fromkeys(("instrument", "position_mode", "balances", "depth"))
    result = await bench.run()
    assert not result.ok
    for venue in ("binance-um", "binance-spot"):
        assert any(text.startswith(f"{venue}: status: no answer") for text in result.failures)
    assert result.measured["smallest_order_usdt"] is None


async def test_the_book_that_is_there_is_not_asked_for_again(autojump_clock: Any) -> None:
    bench = Bench(marks={BINANCE_UM: Decimal(50_000), BINANCE_SPOT: Decimal(50_000)})
    bench.um.broken = bench.spot.broken = {"depth": None}
    result = await bench.run()
    assert result.ok
    assert result.measured["smallest_order_usdt"] == 100.0
