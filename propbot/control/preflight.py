"""The preflight: is everything as it must be before orders may leave? At the start, before HOLD is left, by `propbot
check`; the same in every profile, since the embedded venues serve what it asks.

Each check has its own deadline, the whole has five seconds; one that does not end in time has failed. A check that
failed forbids leaving HOLD, one that warns does not. Texts of failures name thresholds and things, not running values
(those are in `measured`): the same failure twice is one reason.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from typing import Protocol

import trio
from attrs import define, field

from propbot.control.checks import DiskSeen, Found, Preflight, PreflightRules, Verdict
from propbot.decision.decide import compute_lot_qty, compute_smallest_qty
from propbot.domain.account import KeyRights, MarginSetup
from propbot.domain.clock import Clock
from propbot.domain.errors import VenueError
from propbot.domain.instruments import Instrument, Kind, VenueId
from propbot.domain.market import DepthSnapshot
from propbot.domain.money import ZERO, amount_text
from propbot.domain.orders import Balance

AGAIN_S = 3.0
CHECK_S = 2.0


class PreflightGateway(Protocol):
    """One venue; each question raises `VenueError`, and is None where the venue does not tell."""

    async def measure_clock(self) -> float: ...
    async def instrument(self, symbol: str) -> Instrument: ...
    async def position_mode(self) -> bool | None: ...
    async def margin(self, symbol: str) -> MarginSetup | None: ...
    async def key_rights(self) -> KeyRights | None: ...
    async def balances(self) -> Sequence[Balance]: ...
    async def depth(self, symbol: str) -> DepthSnapshot: ...


@define(eq=False)
class PreflightRunner:
    """`last` is what the latest run found; runs do not overlap."""

    gateways: Mapping[VenueId, PreflightGateway]
    rules: PreflightRules
    order_notional: Callable[[], Decimal]
    mark: Callable[[VenueId], Decimal | None]
    """The mid; None while there is no book yet: then the venue is asked."""
    look_at_disk: Callable[[], Awaitable[DiskSeen]]
    clock: Clock
    last: Preflight | None = None
    _last_mono_s: float = -math.inf
    _running: trio.Lock = field(factory=trio.Lock)

    async def run(self) -> Preflight:
        """Ends within `total_s`. Who asks again within AGAIN_S is told what the last run found: a resume that is tried
        again and again must not use up the venues' rate budget, and with it its own chance."""
        async with self._running:
            if self.last is not None and self.clock.mono_s() - self._last_mono_s < AGAIN_S:
                return self.last
            found = Found()
            with trio.move_on_after(self.rules.total_s):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._check_disk, found)
                    for venue, gateway in self.gateways.items():
                        nursery.start_soon(self._check_venue, venue, gateway, found)
            self._check_sizes(found)
            ordered = sorted(found.checks.values(), key=lambda check: check.name)
            self.last, self._last_mono_s = Preflight(self.clock.wall_ns(), tuple(ordered)), self.clock.mono_s()
            return self.last

    # --- this machine

    async def _check_disk(self, found: Found) -> None:
        found.say("data_dir_writable", Verdict.FAILED, "DATA_DIR: the disk does not answer")
        with trio.move_on_after(CHECK_S):
            seen = await self.look_at_disk()
            writable = seen.problem is None
            found.say(
                "data_dir_writable", Verdict.OK if writable else Verdict.FAILED, seen.problem or "DATA_DIR is writable",
                writable,
            )
            least = self.rules.disk_free_mb_min
            enough = seen.free_mb is not None and seen.free_mb >= least
            text = f"DATA_DIR: less than DISK_FREE_MB={least} free" if not enough else "there is room on the disk"
            found.say("disk_free_mb", Verdict.OK if enough else Verdict.FAILED, text, seen.free_mb)

    # --- one venue

    async def _check_venue(self, venue: VenueId, gateway: PreflightGateway, found: Found) -> None:
        """Its clock first: without an answer there is nothing else to ask, and what is signed needs it."""
        if not await self._check_connection(venue, gateway, found):
            return
        async with trio.open_nursery() as nursery:
            for name, check in (
                ("status", self._check_instrument), ("position_mode", self._check_position_mode),
                ("leverage", self._check_margin), ("key_withdraws", self._check_key), ("mid", self._check_mid),
            ):
                nursery.start_soon(self._bounded, f"{venue}.{name}", venue, check, gateway, found)
        # after the margin: what a perp account can carry is its wallet times the leverage
        await self._bounded(f"{venue}.balance_usdt", venue, self._check_balance, gateway, found)

    async def _bounded(
        self,
        name: str,
        venue: VenueId,
        check: Callable[[VenueId, PreflightGateway, Found], Awaitable[None]],
        gateway: PreflightGateway,
        found: Found,
    ) -> None:
        """Not answered, or not in time: failed."""
        found.say(name, Verdict.FAILED, f"{venue}: {name.partition('.')[2]}: no answer within {CHECK_S:g} s")
        with trio.move_on_after(CHECK_S):
            try:
                await check(venue, gateway, found)
            except VenueError as error:
                what = name.partition(".")[2]
                found.say(name, Verdict.FAILED, f"{venue}: {what} could not be asked: {error.message}")

    async def _check_connection(self, venue: VenueId, gateway: PreflightGateway, found: Found) -> bool:
        name, began_s = f"{venue}.answered_in_ms", self.clock.mono_s()
        found.say(name, Verdict.FAILED, f"{venue} does not answer")
        with trio.move_on_after(CHECK_S):
            try:
                offset_ms = await gateway.measure_clock()
            except VenueError as error:
                found.say(name, Verdict.FAILED, f"{venue} does not answer: {error.message}")
                return False
            answered_ms = round((self.clock.mono_s() - began_s) * 1000, 1)
            found.say(name, Verdict.OK, f"{venue} answers", answered_ms)
            off = abs(offset_ms) > self.rules.clock_ms_max
            text = f"{venue}: our clock differs by more than {self.rules.clock_ms_max:g} ms: set it right (NTP)"
            found.say(
                f"{venue}.clock_offset_ms", Verdict.FAILED if off else Verdict.OK,
                text if off else f"{venue}: clocks agree", round(offset_ms, 1),
            )
            return True
        return False

    async def _check_instrument(self, venue: VenueId, gateway: PreflightGateway, found: Found) -> None:
        symbol = self.rules.symbol
        instrument = found.instruments[venue] = await gateway.instrument(symbol)
        verdict = Verdict.OK if instrument.tradable else Verdict.FAILED
        found.say(f"{venue}.status", verdict, f"{venue}: {symbol} is {instrument.status}", instrument.status)
        found.say(
            f"{venue}.filters", Verdict.OK, f"{venue}: filters of {symbol} are known",
            f"tick {amount_text(instrument.tick_size)}, step {amount_text(instrument.lot_step)}, "
            f"least {amount_text(instrument.qty_min)} and {amount_text(instrument.notional_min)} {instrument.quote}",
        )

    async def _check_position_mode(self, venue: VenueId, gateway: PreflightGateway, found: Found) -> None:
        hedge_mode = await gateway.position_mode()
        if hedge_mode is None:
            found.checks.pop(f"{venue}.position_mode")
            return
        words = "hedge mode" if hedge_mode else "one-way"
        text = f"{venue}: position mode is one-way"
        if hedge_mode:
            text = f"{venue}: the account is in hedge mode, orders would be refused (-4061): set it to one-way"
        found.say(f"{venue}.position_mode", Verdict.FAILED if hedge_mode else Verdict.OK, text, words)

    async def _check_margin(self, venue: VenueId, gateway: PreflightGateway, found: Found) -> None:
        margin = await gateway.margin(self.rules.symbol)
        if margin is None:
            found.checks.pop(f"{venue}.leverage")
            return
        found.margins[venue] = margin
        enough = margin.leverage >= 1
        found.say(
            f"{venue}.leverage", Verdict.OK if enough else Verdict.FAILED,
            f"{venue}: leverage is {'known' if enough else 'below 1'}", int(margin.leverage),
        )
        text = f"{venue}: isolated margin: a leg of {self.rules.symbol} may be liquidated while the account has funds"
        found.say(
            f"{venue}.margin_mode", Verdict.WARN if margin.isolated else Verdict.OK,
            text if margin.isolated else f"{venue}: cross margin", "isolated" if margin.isolated else "crossed",
        )

    async def _check_key(self, venue: VenueId, gateway: PreflightGateway, found: Found) -> None:
        name, strict = f"{venue}.key_withdraws", Verdict.FAILED if self.rules.withdraw_refused else Verdict.WARN
        try:
            rights = await gateway.key_rights()
        except VenueError as error:
            found.say(name, strict, f"{venue}: what the key may do could not be read: {error.message}")
            return
        if rights is None:
            found.say(name, Verdict.OK, f"{venue} does not tell what its keys may do")
            return
        if rights.withdraw:
            found.say(name, strict, f"{venue}: the key can withdraw: make one that can only trade", True)
        else:
            found.say(name, Verdict.OK, f"{venue}: the key can't withdraw", rights.withdraw)
        if rights.trade is False:
            found.say(f"{venue}.key_trades", Verdict.FAILED, f"{venue}: the key may not trade: permit it", False)

    async def _check_mid(self, venue: VenueId, gateway: PreflightGateway, found: Found) -> None:
        mid = self.mark(venue)
        if mid is None:
            depth = await gateway.depth(self.rules.symbol)
            if depth.bids and depth.asks:
                mid = (Decimal(depth.bids[0][0]) + Decimal(depth.asks[0][0])) / 2
        if mid is None:
            found.say(f"{venue}.mid", Verdict.WARN, f"{venue}: the book of {self.rules.symbol} is empty")
            return
        found.mids[venue] = mid
        found.say(f"{venue}.mid", Verdict.OK, f"{venue}: there is a market", amount_text(mid))

    async def _check_balance(self, venue: VenueId, gateway: PreflightGateway, found: Found) -> None:
        instrument = found.instruments.get(venue)
        if instrument is None:  # it was asked for and failed: that is said already
            found.checks.pop(f"{venue}.balance_usdt")
            return
        held = {balance.asset: balance.free for balance in await gateway.balances()}
        quote, base, needed = held.get(instrument.quote, ZERO), held.get(instrument.base, ZERO), self.order_notional()
        margin = found.margins.get(venue)
        carried = quote if margin is None else quote * margin.leverage
        name = f"{venue}.balance_usdt"
        self._say_enough(found, name, venue, instrument.quote, quote, carried, needed)
        mark = found.mids.get(venue)
        if instrument.kind is Kind.SPOT:
            worth = None if mark is None else base * mark
            self._say_enough(found, f"{venue}.balance_base", venue, instrument.base, base, worth, needed)

    def _say_enough(
        self, found: Found, name: str, venue: VenueId, asset: str, held: Decimal, worth: Decimal | None,
        needed: Decimal,
    ) -> None:
        """A balance below the order is a warning: the other direction may still be traded, and risk refuses what is
        not there."""
        short = worth is not None and worth < needed
        text = f"{venue}: {asset} does not suffice for ORDER_NOTIONAL_USDT={amount_text(needed)}"
        enough = f"{venue}: {asset} suffices for an order" if worth is not None else f"{venue}: {asset} is known"
        found.say(name, Verdict.WARN if short else Verdict.OK, text if short else enough, amount_text(held))

    # --- both venues

    def _check_sizes(self, found: Found) -> None:
        """The smallest legal order against the order size; unknown while a filter or a mid is."""
        instruments = tuple(found.instruments.values())
        marks = list(found.mids.values())
        name = "smallest_order_usdt"
        if not instruments or len(instruments) < len(self.gateways) or len(marks) < len(self.gateways):
            found.say(name, Verdict.OK, "the smallest legal order is not known")
            return
        mid = sum(marks, ZERO) / len(marks)
        smallest = compute_smallest_qty(instruments, mid)
        text = f"smallest legal order is {amount_text(smallest)} {instruments[0].base}"
        fits = compute_lot_qty(self.order_notional(), mid, instruments) is not None
        if not fits:
            text += f", more than ORDER_NOTIONAL_USDT={amount_text(self.order_notional())}: nothing can be opened"
        found.say(name, Verdict.OK if fits else Verdict.WARN, text, round(float(smallest * mid), 2))
