"""python-binance is refused by the embedded spot venue as by the real one, and told what it has used up."""

from __future__ import annotations

import time
from collections.abc import Callable

from python_binance_desk import COUNTS, WEIGHTS, SpotDesk, header_counts, open_spot, refused
from verdicts import SYMBOL, judge

# Refusals


async def check_filters_refuse(desk: SpotDesk) -> None:
    def limit(quantity: str, price: str) -> None:
        desk.rest.order_limit_buy(symbol=SYMBOL, quantity=quantity, price=price)

    price = desk.far_below()
    with refused(-1013, text="Filter failure: PRICE_FILTER"):
        limit("0.01", price + "5")
    with refused(-1013, text="Filter failure: LOT_SIZE"):
        limit("0.010001", price)
    with refused(-1013, text="Filter failure: LOT_SIZE"):
        limit("10000", price)
    with refused(-1013, text="Filter failure: NOTIONAL"):
        limit("0.00001", price)
    with refused(-1013, text="Filter failure: NOTIONAL"):
        desk.rest.order_market_buy(symbol=SYMBOL, quantity="0.00001")
    with refused(-1111):
        limit("0.0100000001", price)
    with refused(-2010, text="Account has insufficient balance for requested action."):
        limit("100", price)
    with refused(-2010, text="Account has insufficient balance for requested action."):
        desk.rest.order_market_sell(symbol=SYMBOL, quantity="3")


async def check_bad_parameters_are_refused(desk: SpotDesk) -> None:
    asked = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01"}
    asked["price"] = desk.far_below()
    for change, code in (
        ({"symbol": "NOSUCH"}, -1121), ({"side": "HOLD"}, -1117), ({"type": "GIVE"}, -1116),
        ({"timeInForce": "GTZ"}, -1115), ({"timeInForce": None}, -1102), ({"price": None}, -1102),
        ({"quantity": None}, -1102), ({"quantity": "much"}, -1100), ({"newClientOrderId": "j" * 37}, -1100),
    ):
        with refused(code):
            desk.rest.create_order(**{**asked, **change})
    with refused(-1121, text="Invalid symbol."):
        desk.rest.get_order_book(symbol="NOSUCH")
    with refused(-1106):
        desk.rest.create_order(**{**asked, "type": "MARKET"})


async def check_unknown_orders_are_refused(desk: SpotDesk) -> None:
    with refused(-2013, text="Order does not exist."):
        desk.rest.get_order(symbol=SYMBOL, orderId=1)
    with refused(-2011, text="Unknown order sent."):
        desk.rest.cancel_order(symbol=SYMBOL, origClientOrderId="never-sent")
    with refused(-1102):
        desk.rest.get_order(symbol=SYMBOL)


async def check_bad_credentials_are_refused(desk: SpotDesk) -> None:
    with refused(-1022, text="Signature for this request is not valid."):
        desk.another(secret="x" * 64).get_account()
    with refused(-2015, 401):
        desk.another(key="a" * 64).get_account()
    with refused(-2014, 401):
        desk.another(key="bad key").get_account()
    with refused(-1022):
        desk.another(secret="x" * 64).order_market_buy(symbol=SYMBOL, quantity="0.01")


async def check_bad_timestamps_are_refused(desk: SpotDesk) -> None:
    late, early = desk.another(), desk.another()
    late.timestamp_offset, early.timestamp_offset = -20_000, 5_000
    with refused(-1021, text="outside of the recvWindow"):
        late.get_account()
    with refused(-1021, text="ahead of the server's time"):
        early.order_market_buy(symbol=SYMBOL, quantity="0.01")
    late.REQUEST_RECVWINDOW = 30_000
    assert late.get_account()["canTrade"] is True


async def check_refusals_over_the_websocket_api(desk: SpotDesk) -> None:
    with refused(-1013, text="Filter failure: NOTIONAL"):
        await desk.later.ws_order_limit_buy(symbol=SYMBOL, quantity="0.00001", price=desk.far_below())
    with refused(-1121):
        await desk.later.ws_get_order_book(symbol="NOSUCH")
    with refused(-2013):
        await desk.later.ws_get_order(symbol=SYMBOL, orderId=1)
    with refused(-2011):
        await desk.later.ws_cancel_order(symbol=SYMBOL, orderId=1)
    with refused(-1022):
        await desk.later.ws_get_account(signature="0" * 64, apiKey=desk.access["api_key"], timestamp=_now_ms())
    with refused(-1021):
        await desk.later.ws_get_account(timestamp=_now_ms() - 60_000)


def _now_ms() -> int:
    return int(time.time() * 1000)


# Limits


async def check_headers_count_weight_and_unfilled_orders(desk: SpotDesk) -> None:
    """Counted in the venue's minute, so the difference is asked for twice at most (the minute may have turned)."""

    def used(ask: Callable[[], object]) -> int:
        ask()
        return header_counts(desk.rest, WEIGHTS)["1M"]

    for _ in range(2):
        first = used(desk.rest.ping)
        costs = [used(ask) - first for ask in (desk.rest.ping, desk.rest.get_account, desk.rest.get_open_orders)]
        if costs == [1, 21, 101]:
            break
    assert costs == [1, 21, 101], costs
    price = desk.far_below()
    filled = desk.rest.order_market_buy(symbol=SYMBOL, quantity="0.001")
    assert filled["status"] == "FILLED"
    before = header_counts(desk.rest, COUNTS)
    assert set(before) == {"10S", "1D"}
    desk.rest.order_market_buy(symbol=SYMBOL, quantity="0.001")
    assert header_counts(desk.rest, COUNTS)["1D"] == before["1D"], "a filled order's slot comes back"
    desk.rest.order_limit_buy(symbol=SYMBOL, quantity="0.001", price=price)
    assert header_counts(desk.rest, COUNTS)["1D"] == before["1D"] + 1
    rows = {row["interval"]: row for row in desk.rest.get_current_order_count()}
    assert rows["DAY"]["count"] == before["1D"] + 1
    assert rows["SECOND"]["limit"] == 100
    desk.rest.cancel_all_open_orders(symbol=SYMBOL)


if __name__ == "__main__":
    judge("binance-spot", open_spot, globals())
