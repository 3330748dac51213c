"""The life of each order in the log, from its intent to its last fill, on every line the same `client_order_id`.

The blotter notes what happens, on the way to an order's first byte too; so noting is an append, and making lines of it
is a task of its own. The ledger has the same, durable; the log is what one greps at three in the morning.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import structlog
import trio
from attrs import define, evolve, field

from propbot.domain.lots import FillRow, Intent
from propbot.domain.money import amount_text
from propbot.domain.orders import OrderRequest, OrderState

QUEUE_MAX = 10_000
LATER_S = 0.02
"""So much after a note its lines are made: an intent is noted before its orders' bytes have left, and its two lines
(27 µs each on a console, more when they come seldom) would be made in front of them."""


@define
class Pending:
    """What was noted and is not yet said. More than QUEUE_MAX: the oldest are lost, and the ledger still has them."""

    queue: deque[tuple[str, Any]] = field(factory=lambda: deque(maxlen=QUEUE_MAX))
    grew: trio.Event = field(factory=trio.Event)


@define(eq=False)
class OrderLog:
    """Synchronous and cheap, but for `run`."""

    simulated: bool = False
    _pending: Pending = field(factory=Pending)

    def of_simulated(self) -> OrderLog:
        """For the orders of dry runs, which `run` says among the others."""
        return evolve(self, simulated=True)

    def note_intent(self, intent: Intent) -> None:
        """It is durable; its orders may be sent now."""
        self._note("intent", intent)

    def note_state(self, order: OrderRequest, lot_id: str, state: OrderState, reason: str) -> None:
        self._note("state", (order, lot_id, state, reason))

    def note_fill(self, client_order_id: str, row: FillRow) -> None:
        """`client_order_id` is ours: not every source of fills names it."""
        self._note("fill", (client_order_id, row))

    def _note(self, kind: str, what: Any) -> None:
        self._pending.queue.append((kind, (self.simulated, what)))
        self._pending.grew.set()

    async def run(self) -> None:
        """Until cancelled: a line for each note, in order."""
        pending = self._pending
        try:
            while True:
                pending.grew = trio.Event()
                if not pending.queue:
                    await pending.grew.wait()
                await trio.sleep(LATER_S)
                self._say()
        finally:
            self._say()

    def _say(self) -> None:
        queue, log = self._pending.queue, structlog.get_logger("propbot")
        while queue:
            kind, (simulated, what) = queue.popleft()
            more = {"simulated": True} if simulated else {}
            for event, fields in _LINES[kind](what):
                log.info(event, kind="order", **fields, **more)


Line = tuple[str, Mapping[str, str]]


def _intent_lines(intent: Intent) -> list[Line]:
    return [
        (
            "order decided",
            {
                **_named(leg.client_order_id, leg.venue, intent.lot_id), "intent_id": intent.id,
                "purpose": str(leg.purpose), "side": str(leg.side), "qty": amount_text(leg.qty),
                "limit_price": "" if leg.limit_price is None else amount_text(leg.limit_price),
            },
        )
        for leg in intent.legs
    ]


def _state_lines(noted: tuple[OrderRequest, str, OrderState, str]) -> list[Line]:
    order, lot_id, state, reason = noted
    why = {"reason": reason} if reason else {}
    return [(f"order {state}", {**_named(order.client_order_id, order.venue, lot_id), "state": str(state), **why})]


def _fill_lines(noted: tuple[str, FillRow]) -> list[Line]:
    client_order_id, row = noted
    fill = row.fill
    fields = {
        **_named(client_order_id, fill.venue, row.lot_id), "order_id": fill.order_id, "trade_id": fill.trade_id,
        "side": str(fill.side), "qty": amount_text(fill.qty), "price": amount_text(fill.price),
        "fee": amount_text(fill.fee), "fee_asset": fill.fee_asset,
    }
    return [("order fill", fields)]


def _named(client_order_id: str, venue: str, lot_id: str) -> dict[str, str]:
    return {"client_order_id": client_order_id, "venue": venue, "lot_id": lot_id}


_LINES: Mapping[str, Any] = {"intent": _intent_lines, "state": _state_lines, "fill": _fill_lines}
