"""USD-M's user data: listen keys (an hour long, one an account), and engine events in its words."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import trio
from attrs import define, field

from propbot.domain.money import ZERO, amount_text
from propbot.simvenue.faces.core import Core
from propbot.simvenue.faces.errors import ApiError
from propbot.simvenue.faces.private import Event, PrivateFeed, wait_login
from propbot.simvenue.faces.rest import Call, Route, Security
from propbot.simvenue.faces.um_shapes import order_event
from propbot.simvenue.faults import Params
from propbot.simvenue.records import AccountMoved, EngineEvent, OrderChanged

LISTEN_KEY_S = 3600.0


@define(eq=False)
class ListenKeys:
    """The account's listen key. POST makes it or makes it last longer, and always names the same one."""

    core: Core
    feed: PrivateFeed
    _key: str | None = None
    _until_s: float = 0.0
    _changed: trio.Event = field(factory=trio.Event)

    def __attrs_post_init__(self) -> None:
        self.core.faults.on(self.core.venue, "key_expired", self._lose)

    def routes(self) -> Sequence[Route]:
        path = "/fapi/v1/listenKey"
        return (
            Route("POST", path, 1, Security.KEY, self.make),
            Route("PUT", path, 1, Security.KEY, self.keep),
            Route("DELETE", path, 1, Security.KEY, self.end),
        )

    async def make(self, call: Call) -> Any:
        await wait_login(self.core)
        if self._key is None:
            self._key = self.core.make_id(64)
        self._extend()
        return {"listenKey": self._key}

    async def keep(self, call: Call) -> Any:
        if self._key is None:
            raise ApiError(400, -1125, "This listenKey does not exist.")
        self._extend()
        return {"listenKey": self._key}

    async def end(self, call: Call) -> Any:
        self._expire()
        return {}

    def valid(self, key: str) -> bool:
        return key == self._key

    async def run(self) -> None:
        """Expire the key when its hour is over; until cancelled."""
        while True:
            with trio.move_on_at(self._until_s) if self._key else trio.CancelScope():
                await self._changed.wait()
            self._changed = trio.Event()
            if self._key is not None and trio.current_time() >= self._until_s:
                self._expire()

    def _extend(self) -> None:
        self._until_s = trio.current_time() + LISTEN_KEY_S
        self._changed.set()

    def _lose(self, params: Params) -> None:
        self._expire(told=params["told"])

    def _expire(self, *, told: bool = True) -> None:
        key, self._key = self._key, None
        self._changed.set()
        if key is not None and told:
            self.feed.tell({"e": "listenKeyExpired", "E": self.core.wall_ms(), "listenKey": key})


@define(eq=False)
class UmEvents:
    """Engine events as ORDER_TRADE_UPDATE and ACCOUNT_UPDATE."""

    core: Core
    _realised: dict[str, Decimal] = field(factory=dict)
    """By symbol, since this host started."""

    def render(self, event: EngineEvent) -> Sequence[Event]:
        if isinstance(event, OrderChanged):
            trade = event.trade
            if trade is not None:
                self._realised[trade.symbol] = self._realised.get(trade.symbol, ZERO) + trade.realised
            instrument = self.core.instrument(event.order.request.symbol)
            return (order_event(instrument, event, self.core.wall_ms()),)
        return (self._account_update(event),)

    def _account_update(self, moved: AccountMoved) -> Event:
        body: dict[str, Any] = {
            "m": moved.reason,
            "B": [
                {
                    "a": asset,
                    "wb": amount_text(total),
                    "cw": amount_text(total),
                    "bc": amount_text(self._change_but_for_trading(moved)),
                }
                for asset, total in moved.balances.items()
            ],
            "P": [],
        }
        if moved.position is not None:
            body["P"] = [self._position(*moved.position)]
        return {"e": "ACCOUNT_UPDATE", "E": self.core.wall_ms(), "T": moved.ts_ms, "a": body}

    def _change_but_for_trading(self, moved: AccountMoved) -> Decimal:
        """`bc`: what moved the wallet besides profit and commissions, which here is funding."""
        if moved.reason != "FUNDING_FEE":
            return ZERO
        return self.core.engine.fundings(limit=1)[-1].amount

    def _position(self, symbol: str, qty: Decimal, entry_price: Decimal) -> dict[str, Any]:
        top = self.core.engine.top(symbol)
        mark = entry_price if top is None else self.core.engine.mark_price(symbol)
        return {
            "s": symbol,
            "pa": amount_text(qty),
            "ep": amount_text(entry_price),
            "bep": amount_text(entry_price),
            "cr": amount_text(self._realised.get(symbol, ZERO)),
            "up": amount_text(qty * (mark - entry_price)),
            "mt": "cross",
            "iw": "0",
            "ps": "BOTH",
        }
