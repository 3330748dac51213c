"""Meeting a venue: the baseline is taken once, whole or not at all, and never moves by itself."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from attrs import define, field

from propbot.domain.errors import LedgerError, VenueRetry
from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM, Fees, Instrument, VenueId
from propbot.domain.orders import Balance, Fill, Side, VenuePosition
from propbot.execution.first_contact import Met, meet_venue

if TYPE_CHECKING:
    from tests.unit.execution.conftest import Rig


@define(eq=False)
class Host:
    """A `MeetingGateway`: notes what it is asked; `fails` names a question that it does not answer."""

    known: Instrument
    balance: dict[str, str] = field(factory=dict)
    position: str = "0"
    trade_ids: tuple[str, ...] = ()
    asked: list[str] = field(factory=list)
    fails: str = ""

    def ts_ms(self) -> int:
        return 1_790_000_000_000 + len(self.asked)

    def _ask(self, question: str) -> None:
        self.asked.append(question)
        if question == self.fails:
            raise VenueRetry(self.known.venue, f"no answer to {question}")

    async def measure_clock(self) -> float:
        self._ask("clock")
        return 0.0

    async def instrument(self, symbol: str) -> Instrument:
        self._ask("instrument")
        return self.known

    async def fees(self, symbol: str) -> Fees:
        self._ask("fees")
        return Fees(Decimal(1), Decimal(2))

    async def balances(self) -> Sequence[Balance]:
        self._ask("balances")
        return [Balance(self.known.venue, asset, Decimal(qty), Decimal("0.5")) for asset, qty in self.balance.items()]

    async def positions(self, symbol: str) -> Sequence[VenuePosition]:
        self._ask("positions")
        qty = Decimal(self.position)
        return [VenuePosition(self.known.venue, symbol, qty, Decimal(1))] if qty else []

    async def trades(self, symbol: str, from_trade_id: int | None) -> Sequence[Fill]:
        self._ask("trades")
        assert from_trade_id is None
        one = Decimal(1)
        return [
            Fill(self.known.venue, symbol, "1", "", id, Side.BUY, one, one, one, "USDT", "taker", 1)
            for id in self.trade_ids
        ]


@pytest.fixture
def um(rig: Rig) -> Host:
    return Host(rig.um.instrument, {"USDT": "1000"}, "-0.25", ("41", "7"))


@pytest.fixture
def spot(rig: Rig) -> Host:
    return Host(rig.spot.instrument, {"USDT": "900", "BTC": "2", "ETH": "5"})


async def _meet(rig: Rig, host: Host) -> Met:
    return await meet_venue(VenueId(host.known.venue), "BTCUSDT", host, rig.ledger)


async def test_the_first_contact_takes_balances_position_and_the_trade_watermark(rig: Rig, um: Host) -> None:
    met = await _meet(rig, um)
    assert met.baselines == {"USDT": Decimal("1000.5"), "BTC": Decimal("-0.25")}
    assert met.first_trade_id == 42
    assert (met.instrument, met.fees) == (um.known, Fees(Decimal(1), Decimal(2)))
    assert await rig.ledger.baselines() == {
        (BINANCE_UM, "USDT"): Decimal("1000.5"), (BINANCE_UM, "BTC"): Decimal("-0.25"),
    }  # fmt: skip


async def test_a_spot_baseline_counts_what_is_locked_too_and_only_our_two_assets(rig: Rig, spot: Host) -> None:
    met = await _meet(rig, spot)
    assert met.baselines == {"USDT": Decimal("900.5"), "BTC": Decimal("2.5")}
    assert met.first_trade_id == 0, "an account that never traded begins with its first trade"


async def test_an_asset_that_the_venue_does_not_list_is_zero(rig: Rig, spot: Host) -> None:
    del spot.balance["BTC"]
    assert (await _meet(rig, spot)).baselines["BTC"] == 0


async def test_a_second_meeting_keeps_the_baseline_whatever_the_account_holds_now(rig: Rig, um: Host) -> None:
    first = await _meet(rig, um)
    um.balance["USDT"], um.position, um.trade_ids = "5", "3", ("99",)
    um.asked.clear()
    second = await _meet(rig, um)
    assert second == first
    assert um.asked == ["clock", "instrument", "fees"]


async def test_two_venues_have_baselines_of_their_own(rig: Rig, um: Host, spot: Host) -> None:
    await _meet(rig, um)
    await _meet(rig, spot)
    assert set(await rig.ledger.baselines()) == {
        (venue, asset) for venue in (BINANCE_UM, BINANCE_SPOT) for asset in ("USDT", "BTC")
    }


@pytest.mark.parametrize("question", ["clock", "instrument", "fees", "trades", "positions", "balances"])
async def test_a_venue_that_stops_answering_leaves_no_baseline_behind(rig: Rig, um: Host, question: str) -> None:
    um.fails = question
    with pytest.raises(VenueRetry, match=question):
        await _meet(rig, um)
    assert await rig.ledger.baselines() == {}
    um.fails = ""
    um.balance["USDT"], um.trade_ids = "1001", ("41", "7", "50")
    met = await _meet(rig, um)
    assert met.baselines["USDT"] == Decimal("1001.5")
    assert met.first_trade_id == 51


async def test_a_ledger_that_fails_in_the_middle_means_that_the_meeting_is_done_again_whole(
    rig: Rig, um: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any) -> None:
        raise LedgerError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(rig.ledger, "record_baselines", fail)
        with pytest.raises(LedgerError):
            await _meet(rig, um)
    um.trade_ids = ("60",)
    assert (await _meet(rig, um)).first_trade_id == 61
