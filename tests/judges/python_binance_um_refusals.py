"""python-binance is refused by the embedded USD-M venue as by the real one, and told what it has used up."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal

from python_binance_desk import COUNTS, WEIGHTS, PerpDesk, header_counts, open_perp, refused
from verdicts import SYMBOL, judge

# Refusals


async def check_filters_refuse(desk: PerpDesk) -> None:
    price = desk.far_below()
    with refused(-4014):
        desk.limit_buy(str(Decimal(price) + Decimal("0.05")))
    with refused(-1111):
        desk.limit_buy(price, "0.0105")
    with refused(-1111):
        desk.limit_buy(str(Decimal(price) + Decimal("0.001")))
    with refused(-4164):
        desk.limit_buy(price, "0.001")
    with refused(-4164):
        desk.market("BUY", "0.001")
    with refused(-4003):
        desk.limit_buy(price, "0")
    with refused(-4005):
        desk.limit_buy(price, "1001")
    with refused(-2019, text="Margin is insufficient."):
        desk.market("BUY", "100")


async def check_bad_parameters_are_refused(desk: PerpDesk) -> None:
    asked = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01"}
    asked["price"] = desk.far_below()
    for change, code in (
        ({"symbol": "NOSUCH"}, -1121), ({"side": "HOLD"}, -1117), ({"type": "GIVE"}, -1116),
        ({"timeInForce": "GTZ"}, -1115), ({"timeInForce": None}, -1102), ({"price": None}, -1102),
        ({"quantity": None}, -1102), ({"quantity": "much"}, -1100), ({"newClientOrderId": "j" * 37}, -4015),
        ({"positionSide": "LONG"}, -4061),
    ):
        with refused(code):
            desk.rest.futures_create_order(**{**asked, **change})
    with refused(-1121, text="Invalid symbol."):
        desk.rest.futures_order_book(symbol="NOSUCH")


async def check_unknown_orders_are_refused(desk: PerpDesk) -> None:
    with refused(-2013, text="Order does not exist."):
        desk.rest.futures_get_order(symbol=SYMBOL, orderId=1)
    with refused(-2011, text="Unknown order sent."):
        desk.rest.futures_cancel_order(symbol=SYMBOL, origClientOrderId="never-sent")
    with refused(-1102):
        desk.rest.futures_get_order(symbol=SYMBOL)


async def check_bad_credentials_are_refused(desk: PerpDesk) -> None:
    with refused(-1022, text="Signature for this request is not valid."):
        desk.another(secret="x" * 64).futures_account()
    with refused(-2015, 401):
        desk.another(key="a" * 64).futures_account()
    with refused(-2014, 401):
        desk.another(key="bad key").futures_account()
    with refused(-1022):
        desk.another(secret="x" * 64).futures_create_order(symbol=SYMBOL, side="BUY", type="MARKET", quantity="0.01")


async def check_bad_timestamps_are_refused(desk: PerpDesk) -> None:
    late, early = desk.another(), desk.another()
    late.timestamp_offset, early.timestamp_offset = -20_000, 5_000
    with refused(-1021, text="outside of the recvWindow"):
        late.futures_account()
    with refused(-1021):
        early.futures_create_order(symbol=SYMBOL, side="BUY", type="MARKET", quantity="0.01")
    late.REQUEST_RECVWINDOW = 30_000
    assert late.futures_account()["canTrade"] is True


async def check_refusals_over_the_websocket_api(desk: PerpDesk) -> None:
    asked = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": desk.far_below()}
    with refused(-4164):
        await desk.later.ws_futures_create_order(**asked, quantity="0.001")
    with refused(-5022):
        await desk.later.ws_futures_create_order(
            **{**asked, "timeInForce": "GTX", "price": desk.above()}, quantity="0.01"
        )
    with refused(-2013):
        await desk.later.ws_futures_get_order(symbol=SYMBOL, orderId=1)
    with refused(-2011):
        await desk.later.ws_futures_cancel_order(symbol=SYMBOL, orderId=1)
    now_ms = int(time.time() * 1000)
    with refused(-1021):
        await desk.later.ws_futures_account_balance(timestamp=now_ms - 60_000)
    with refused(-1022):
        await desk.later.ws_futures_account_balance(
            signature="0" * 64, apiKey=desk.access["api_key"], timestamp=now_ms
        )


# Limits


async def check_headers_count_weight_and_orders(desk: PerpDesk) -> None:
    """Counted in the venue's minute, so all is done twice at most (the minute may have turned)."""

    def used(ask: Callable[[], object]) -> int:
        ask()
        return header_counts(desk.rest, WEIGHTS)["1M"]

    for _ in range(2):
        first = used(desk.rest.futures_ping)
        asked = (desk.rest.futures_ping, desk.rest.futures_account, desk.rest.futures_get_open_orders)
        costs = [used(ask) - first for ask in asked]
        if costs == [1, 6, 46]:
            break
    assert costs == [1, 6, 46], costs
    price = desk.far_below()
    for _ in range(2):
        desk.limit_buy(price)
        before = header_counts(desk.rest, COUNTS)
        assert set(before) == {"10S", "1M"}
        desk.limit_buy(price)
        if header_counts(desk.rest, COUNTS)["1M"] == before["1M"] + 1:
            break
    assert header_counts(desk.rest, COUNTS)["1M"] == before["1M"] + 1
    desk.rest.futures_cancel_all_open_orders(symbol=SYMBOL)


if __name__ == "__main__":
    judge("binance-um", open_perp, globals())
