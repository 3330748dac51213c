"""Every Binance sample message of the shared folder through the decoder that would meet it, with what must come out.

The samples are documentation examples and messages that others have met in the wild (their sizes and prices mean
nothing). Each file has its outcome here or its reason why nobody of ours reads it, and a test holds that none was
forgotten. OKX's and Bybit's samples wait for their dialects; SBE is an encoding that we do not speak. Error bodies are
in test_dialect_errors.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from propbot.domain.dialect import HttpReply, RateLimit
from propbot.domain.errors import ProtocolViolation
from propbot.domain.instruments import Fees, FundingOutlook
from propbot.domain.market import DepthDiff, TopOfBook
from propbot.domain.orders import AccountChanged, OrderReport, OrderState, Side
from propbot.venues.binance_spot import BinanceSpot
from propbot.venues.binance_um import BinanceUm

FIXTURES = Path(__file__).resolve().parents[3].parent / "shared/venues/fixtures"
DOCS = FIXTURES / "binance/test_data"
SEEN = FIXTURES / "tests/integration_tests/adapters/binance/resources"
FOLDERS = {
    "um_private": DOCS / "futures/user_data_json",
    "um_public": DOCS / "futures/market_data_json",
    "um_rest": DOCS / "futures/http_json",
    "spot_private": DOCS / "spot/user_data_json",
    "spot_rest": DOCS / "spot/http_json",
    "ws": SEEN / "ws_messages",
    "rest": SEEN / "http_responses",
}
pytestmark = pytest.mark.skipif(
    not FIXTURES.exists(), reason="the shared folder with sample messages is not beside this checkout"
)

WORKING, FILLED, PARTIAL = OrderState.WORKING, OrderState.FILLED, OrderState.PARTIAL
CANCELED, REJECTED = OrderState.CANCELED, OrderState.REJECTED


@frozen
class Trade:
    trade_id: str
    qty: str
    price: str
    fee: str
    fee_asset: str
    liquidity: str = "taker"


@frozen
class Order:
    """What an order event must say. `side` as the sample has it is checked too, from the sample itself."""

    client_order_id: str
    state: OrderState
    filled_qty: str = "0"
    trade: Trade | None = None
    reason: str = ""


UM_ORDERS = {
    "um_private/order_update_new": Order("TEST", WORKING),
    "um_private/order_update_trade": Order(
        "TEST", WORKING, "0.001", Trade("12345678", "0.001", "7100.50", "0.01", "USDT", "maker")
    ),
    "um_private/order_update_trade_partial": Order(
        "TEST", WORKING, "0.001", Trade("12345678", "0.001", "7100.50", "0.01", "USDT", "maker")
    ),
    # the venue's own orders against us move our position like any trade
    "um_private/order_update_adl": Order(
        "adl_autoclose_12345", FILLED, "0.005", Trade("12346001", "0.005", "42000", "0.105", "USDT")
    ),
    "um_private/order_update_calculated": Order(
        "autoclose-1234567890", FILLED, "0.014", Trade("12345999", "0.014", "9910.12", "0.06937084", "USDT")
    ),
    "um_private/order_update_calculated_pending": Order("autoclose-pending-0000", WORKING),
    "um_private/order_update_delivery": Order(
        "delivery_autoclose-12345", FILLED, "1", Trade("12346003", "1", "70000", "0", "")
    ),
    "um_private/order_update_insurance": Order(
        "autoclose-insurance-5678", FILLED, "0.020", Trade("12346003", "0.020", "45000", "0.45", "USDT")
    ),
    "um_private/order_update_settlement": Order(
        "settlement_autoclose-9999", FILLED, "0.010", Trade("12346002", "0.010", "50000", "0.25", "USDT")
    ),
    "ws/ws_futures_order_update_adl": Order(
        "adl_autoclose", FILLED, "1", Trade("2233445566", "1", "2500", "2.5", "USDT")
    ),
    "ws/ws_futures_order_update_adl_filled": Order(
        "adl_autoclose-123", FILLED, "1", Trade("2233445566", "1", "2500", "2.5", "USDT")
    ),
    "ws/ws_futures_order_update_liquidation": Order(
        "autoclose-1234567890123456", FILLED, "0.1", Trade("1122334455", "0.1", "50000", "5", "USDT")
    ),
    "ws/ws_futures_order_update_liquidation_zero_qty": Order("autoclose-7654321098765432", FILLED),
    "ws/ws_futures_order_update_new_limit_if_touched_price_match": Order(
        "O-12345-test-limit-if-touched-price-match", WORKING
    ),
    "ws/ws_futures_order_update_new_price_match": Order("O-12345-test-price-match", WORKING),
    "ws/ws_futures_order_update_new_reduce_only_qty": Order("O-12345-test-reduce-only", WORKING),
    "ws/ws_futures_order_update_new_stop_limit_price_match": Order("O-12345-test-stop-limit-price-match", WORKING),
    "ws/ws_futures_order_update_settlement": Order(
        "settlement_autoclose-1111222233334444", FILLED, "0.05", Trade("4455667788", "0.05", "51000", "2.55", "USDT")
    ),
    "ws/ws_futures_order_update_trade_reduce_only_qty": Order(
        "O-12345-test-reduce-only-trade", FILLED, "1", Trade("9988776655", "1", "2500", "0.5", "USDT")
    ),
}

SPOT_ORDERS = {
    "spot_private/execution_report_new": Order("x-TD67BGP9-T0000000000000", WORKING),
    "spot_private/execution_report_wrapped": Order("mUvoqJxFIILMdfAW5iGSOW", WORKING),
    "spot_private/execution_report_stop_loss": Order("x-TD67BGP9-T0000000000001", WORKING),
    "spot_private/execution_report_trade": Order(
        "x-TD67BGP9-T0000000000000", FILLED, "1", Trade("98765432", "1", "2500", "0.001", "ETH", "maker")
    ),
    # `c` is the cancel's own id, `C` the order's
    "spot_private/execution_report_canceled": Order("x-TD67BGP9-T0000000000000", CANCELED, reason="CANCELED"),
    "spot_private/execution_report_expired": Order("x-TD67BGP9-T0000000000000", CANCELED, reason="EXPIRED"),
    "ws/ws_spot_execution_report_binance_us": Order(
        "T0ESHzso0banw0QiPFZYgj", FILLED, "0.00042", Trade("88685053", "0.00042", "117290.77", "0.00492621", "USD")
    ),
    "ws/ws_spot_execution_report_calculated": Order(
        "autoclose-123456789", FILLED, "0.01", Trade("98765432", "0.01", "49500", "2.475", "USDT")
    ),
    "ws/ws_spot_execution_report_canceled": Order("O-12345-test-cancel", PARTIAL, "0.1", reason="CANCELED"),
    "ws/ws_spot_execution_report_custom_client_id": Order(
        "INIT-BTC-1234567890", WORKING, "0.5", Trade("98765432", "0.5", "2499.50", "0.0005", "ETH", "maker")
    ),
    "ws/ws_spot_execution_report_empty_client_id": Order(
        "", WORKING, "0.5", Trade("98765432", "0.5", "2499.50", "0.0005", "ETH", "maker")
    ),
    "ws/ws_spot_execution_report_expired": Order("O-12345-test-expired", CANCELED, reason="EXPIRED"),
    "ws/ws_spot_execution_report_new": Order("O-12345-test-new", WORKING),
    "ws/ws_spot_execution_report_new_limit_if_touched_price_match": Order(
        "O-12345-test-limit-if-touched-price-match", WORKING
    ),
    "ws/ws_spot_execution_report_new_price_match": Order("O-12345-test-price-match", WORKING),
    "ws/ws_spot_execution_report_new_stop_limit_price_match": Order("O-12345-test-stop-limit-price-match", WORKING),
    "ws/ws_spot_execution_report_pending_cancel": Order("O-12345-test-cancel", WORKING, "0.1"),
    "ws/ws_spot_execution_report_rejected": Order("O-12345-test-reject", REJECTED, reason="GTX_ORDER_REJECT"),
    "ws/ws_spot_execution_report_trade": Order(
        "O-12345-test-trade", WORKING, "0.5", Trade("98765432", "0.5", "2499.50", "0.0005", "ETH", "maker")
    ),
    # TRADE with a last quantity of zero is no fill; the status counts
    "ws/ws_spot_execution_report_trade_l_zero_canceled": Order(
        "O-12345-test-l-zero-canceled", CANCELED, reason="CANCELED"
    ),
    "ws/ws_spot_execution_report_trade_l_zero_expired": Order(
        "O-12345-test-l-zero-expired", CANCELED, reason="EXPIRED"
    ),
    "ws/ws_spot_execution_report_trade_l_zero_new": Order("O-12345-test-l-zero-new", WORKING),
    "ws/ws_spot_execution_report_trade_l_zero_partial": Order("O-12345-test-l-zero-partial", WORKING, "0.5"),
    "ws/ws_spot_execution_report_trade_prevention": Order("O-12345-test-stp", CANCELED, reason="SELF_TRADE_PREVENTION"),
}
PRICELESS = "ws/ws_spot_execution_report_trade_l_zero"
"""A fill of a quantity at price zero: nothing that can be booked, so the stream ends and REST is asked."""

ACCOUNT = {
    "um_private/account_update": "ORDER",
    "um_private/account_update_bnfcr": "ORDER",
    "spot_private/account_position": "outboundAccountPosition",
    "spot_private/account_position_wrapped": "outboundAccountPosition",
    "spot_private/balance_update": "balanceUpdate",
    "spot_private/balance_update_wrapped": "balanceUpdate",
}
SILENT_PRIVATE = (
    "um_private/algo_update_canceled", "um_private/algo_update_new", "um_private/trade_lite",
    "ws/ws_futures_algo_update_finished", "ws/ws_futures_algo_update_finished_canceled",
    "ws/ws_futures_algo_update_triggered", "ws/ws_futures_algo_update_triggering", "ws/ws_futures_trade_lite",
    "spot_private/list_status_wrapped",
)
"""Known and of no use: conditional orders, order lists, and the fill that comes whole a moment later."""
SILENT_PUBLIC = (
    "um_public/agg_trade_stream", "um_public/kline_stream_closed", "um_public/kline_stream_open",
    "um_public/liquidation_stream", "um_public/mark_price_stream", "um_public/ticker_stream",
    "um_public/trade_stream", "ws/ws_futures_ticker_24hr", "ws/ws_spot_agg_trade", "ws/ws_spot_ticker_24hr",
    "ws/ws_spot_trade",
)

READ_BELOW = (
    "um_public/book_ticker_stream", "um_public/depth_update_stream", "ws/ws_futures_book_ticker",
    "ws/ws_futures_depth_diff_update", "ws/ws_futures_depth_update", "ws/ws_spot_ticker_book",
    "um_rest/balance", "um_rest/order_response", "um_rest/position_risk",
    "rest/http_futures_account_orders", "rest/http_futures_account_positions_hedge",
    "rest/http_futures_account_positions_one_way", "rest/http_futures_account_trades",
    "rest/http_futures_market_depth", "rest/http_futures_market_exchange_info",
    "rest/http_futures_market_premium_index", "rest/http_futures_wallet_commission_rate_btcusdt",
    "rest/http_futures_wallet_commission_rate_btcusdt_quarterly",
    "rest/http_futures_wallet_commission_rate_ethusdt",
    "spot_rest/account_response", "spot_rest/account_trades_response", "spot_rest/all_orders_response",
    "spot_rest/cancel_order_response", "spot_rest/depth_response", "spot_rest/exchange_info_response",
    "spot_rest/new_order_full_response", "spot_rest/open_orders_response", "spot_rest/order_response",
    "spot_rest/server_time_response", "rest/http_spot_market_depth", "rest/http_spot_market_exchange_info",
    "rest/http_spot_market_time", "rest/http_spot_wallet_account",
)
NEVER_ASKED = {
    "um_rest": ("account_info_v2", "open_algo_orders"),
    "spot_rest": (
        "avg_price_response", "book_ticker_response", "cancel_open_orders_response", "klines_response",
        "ping_response", "ticker_24hr_response", "ticker_price_response", "trades_response",
    ),
    "rest": (
        "http_futures_account_position_side_dual", "http_futures_account_symbol_config",
        "http_futures_market_agg_trades", "http_futures_market_asset_index", "http_futures_market_blvt_nav_kline",
        "http_futures_market_book_ticker", "http_futures_market_continuous_klines",
        "http_futures_market_funding_rate", "http_futures_market_global_long_short_account_ratio",
        "http_futures_market_historical_trades", "http_futures_market_index_info",
        "http_futures_market_index_price_klines", "http_futures_market_klines",
        "http_futures_market_mark_price_klines", "http_futures_market_open_interest",
        "http_futures_market_open_interest_historical", "http_futures_market_taker_long_short_ratio",
        "http_futures_market_ticker_24hr", "http_futures_market_ticker_price",
        "http_futures_market_top_long_short_account_ratio", "http_futures_market_top_long_short_position_ratio",
        "http_futures_market_trades", "http_spot_market_agg_trades", "http_spot_market_avg_price",
        "http_spot_market_book_ticker", "http_spot_market_historical_trades", "http_spot_market_klines",
        "http_spot_market_ping", "http_spot_market_ticker_price", "http_spot_market_trades",
        "http_wallet_trading_fee", "http_wallet_trading_fees",
    ),
}
"""Answers to questions that no dialect asks."""


def sample(name: str) -> bytes:
    folder, _, stem = name.partition("/")
    return (FOLDERS[folder] / f"{stem}.json").read_bytes()


def answer(name: str) -> HttpReply:
    return HttpReply(200, {}, sample(name))


def spot_frame(name: str) -> bytes:
    """As the private stream sends it in 2026: the old envelope, of the listen key's time, is changed for the new."""
    body = sample(name)
    found: dict[str, Any] = json.loads(body)
    return body if "stream" not in found else json.dumps({"subscriptionId": 0, "event": found["data"]}).encode()


def test_no_sample_is_forgotten() -> None:
    there = {f"{name}/{path.stem}" for name, folder in FOLDERS.items() for path in folder.glob("*.json")}
    named = [
        *UM_ORDERS, *SPOT_ORDERS, PRICELESS, *ACCOUNT, *SILENT_PRIVATE, *SILENT_PUBLIC, *READ_BELOW,
        *(f"{folder}/{stem}" for folder, stems in NEVER_ASKED.items() for stem in stems),
    ]
    assert len(named) == len(set(named))
    assert set(named) == there


# the private stream


def assert_order(report: object, expected: Order, event: Mapping[str, Any]) -> None:
    assert isinstance(report, OrderReport)
    assert (report.client_order_id, report.state, report.reason) == (
        expected.client_order_id, expected.state, expected.reason
    )
    assert (report.filled_qty, report.qty) == (Decimal(expected.filled_qty), Decimal(event["q"]))
    assert (report.symbol, report.order_id, report.side) == (event["s"], str(event["i"]), Side(event["S"]))
    assert (report.limit_price or 0, report.ts_ms) == (Decimal(event["p"]), event["T"])
    told = [(fill.trade_id, fill.qty, fill.price, fill.fee, fill.fee_asset, fill.liquidity) for fill in report.fills]
    trade, due = expected.trade, []
    if trade is not None:
        amounts = (Decimal(trade.qty), Decimal(trade.price), Decimal(trade.fee))
        due = [(trade.trade_id, *amounts, trade.fee_asset, trade.liquidity)]
    assert told == due


@pytest.mark.parametrize("name", UM_ORDERS)
def test_a_perps_order_event_is_read_whole(um: BinanceUm, name: str) -> None:
    (report,) = um.read_private(sample(name))
    found = json.loads(sample(name))
    assert_order(report, UM_ORDERS[name], found.get("data", found)["o"])


@pytest.mark.parametrize("name", SPOT_ORDERS)
def test_a_spot_order_event_is_read_whole(spot: BinanceSpot, name: str) -> None:
    (report,) = spot.read_private(spot_frame(name))
    found = json.loads(spot_frame(name))
    assert_order(report, SPOT_ORDERS[name], found.get("event", found))


def test_a_fill_at_price_zero_is_refused_by_name(spot: BinanceSpot) -> None:
    with pytest.raises(ProtocolViolation, match="order event L: not above zero"):
        spot.read_private(spot_frame(PRICELESS))


@pytest.mark.parametrize("name", ACCOUNT)
def test_an_account_event_says_that_balances_must_be_asked_for(um: BinanceUm, spot: BinanceSpot, name: str) -> None:
    dialect = um if name.startswith("um_") else spot
    assert dialect.read_private(sample(name)) == (AccountChanged(ACCOUNT[name]),)


@pytest.mark.parametrize("name", SILENT_PRIVATE)
def test_private_events_of_no_use_are_passed_over(um: BinanceUm, spot: BinanceSpot, name: str) -> None:
    dialect = spot if "spot" in name else um
    assert dialect.read_private(sample(name)) == ()


# public streams


@pytest.mark.parametrize("name", SILENT_PUBLIC)
def test_public_frames_of_no_use_are_passed_over(um: BinanceUm, spot: BinanceSpot, name: str) -> None:
    dialect = spot if "spot" in name else um
    assert dialect.read_public(sample(name)) is None


def test_book_tickers_are_read(um: BinanceUm, spot: BinanceSpot) -> None:
    bnb = TopOfBook(
        um.venue, "BNBUSDT", 400900217, "25.35190000", "31.21000000", "25.36520000", "40.66000000", 1568014460893
    )
    for name in ("um_public/book_ticker_stream", "ws/ws_futures_book_ticker"):
        assert um.read_public(sample(name)) == bnb
    assert spot.read_public(sample("ws/ws_spot_ticker_book")) == TopOfBook(
        spot.venue, "ETHUSDT", 12711621188, "4507.24000000", "2.35950000", "4507.25000000", "2.84570000", 1646199228123
    )


def test_depth_updates_are_read(um: BinanceUm) -> None:
    small = DepthDiff(um.venue, "BTCUSDT", 157, 160, 149, [("0.0024", "10")], [("0.0026", "100")], 123456789)
    for name in ("um_public/depth_update_stream", "ws/ws_futures_depth_diff_update"):
        assert um.read_public(sample(name)) == small
    large = um.read_public(sample("ws/ws_futures_depth_update"))
    assert isinstance(large, DepthDiff)
    assert (large.first_id, large.last_id, large.prev_id) == (390497796, 390497878, 390497794)
    assert (large.bids[0], large.asks[-1]) == (("7403.89", "0.002"), ("7407.20", "0.175"))
    assert (len(large.bids), len(large.asks)) == (5, 5)


# REST


def test_orders_are_read(um: BinanceUm, spot: BinanceSpot) -> None:
    perp = um.read_order(answer("um_rest/order_response"), "BTCUSDT")
    assert (perp.client_order_id, perp.order_id, perp.state) == ("testOrder123", "12345678", WORKING)
    assert (perp.qty, perp.filled_qty, perp.limit_price) == (Decimal("0.001"), 0, 50000)
    (open_one,) = um.read_open_orders(answer("rest/http_futures_account_orders"))
    assert (open_one.client_order_id, open_one.state, open_one.qty) == ("abc", WORKING, Decimal("0.4"))
    full = spot.read_order(answer("spot_rest/new_order_full_response"), "BTCUSDT")
    assert (full.state, full.side, full.filled_qty) == (FILLED, Side.SELL, 10)
    assert sum(fill.qty for fill in full.fills) == 10
    assert [fill.trade_id for fill in full.fills] == ["56", "57", "58", "59", "60"]
    assert {fill.fee_asset for fill in full.fills} == {"USDT"}
    cancelled = spot.read_order(answer("spot_rest/cancel_order_response"), "LTCBTC")
    assert (cancelled.client_order_id, cancelled.state) == ("myOrder1", CANCELED)
    assert spot.read_order(answer("spot_rest/order_response"), "LTCBTC").order_id == "1"
    for name in ("spot_rest/open_orders_response", "spot_rest/all_orders_response"):
        (order,) = spot.read_open_orders(answer(name))
        assert (order.client_order_id, order.state, order.limit_price) == ("myOrder1", WORKING, Decimal("0.1"))


def test_trades_are_read(um: BinanceUm, spot: BinanceSpot) -> None:
    sold, bought = um.read_trades(answer("rest/http_futures_account_trades"))
    assert (sold.trade_id, sold.side, sold.qty, sold.price) == (
        "82357626", Side.SELL, Decimal("0.005"), Decimal("2778.35")
    )
    assert (bought.order_id, bought.side, bought.fee, bought.fee_asset, bought.liquidity) == (
        "831238690", Side.BUY, Decimal("0.005558"), "USDT", "taker"
    )
    (fill,) = spot.read_trades(answer("spot_rest/account_trades_response"))
    assert (fill.trade_id, fill.order_id, fill.side) == ("28457", "100234", Side.BUY)
    assert (fill.qty, fill.price, fill.fee, fill.fee_asset) == (12, Decimal("4.000001"), Decimal("10.1"), "BNB")


def test_balances_and_positions_are_read(um: BinanceUm, spot: BinanceSpot) -> None:
    (usdt,) = um.read_balances(answer("um_rest/balance"))
    assert (usdt.asset, usdt.free, usdt.locked) == ("USDT", Decimal("122.12345678"), 0)
    for name in ("spot_rest/account_response", "rest/http_spot_wallet_account"):
        held = {balance.asset: balance.free for balance in spot.read_balances(answer(name))}
        assert held == {"BTC": Decimal("4723846.89208129"), "LTC": Decimal("4763368.68006011")}
    (long,) = um.read_positions(answer("um_rest/position_risk"))
    assert (long.symbol, long.qty, long.entry_price) == ("BTCUSDT", Decimal("0.001"), 50000)
    assert um.read_positions(answer("rest/http_futures_account_positions_one_way")) == ()
    hedged = um.read_positions(answer("rest/http_futures_account_positions_hedge"))
    assert [position.qty for position in hedged] == [20, -10]


def test_books_and_times_are_read(um: BinanceUm, spot: BinanceSpot) -> None:
    for dialect, name in ((um, "rest/http_futures_market_depth"), (spot, "spot_rest/depth_response")):
        book = dialect.read_depth(answer(name), "BTCUSDT")
        assert (book.last_id, book.bids, book.asks) == (
            1027024, [("4.00000000", "431.00000000")], [("4.00000200", "12.00000000")]
        )
    ten = spot.read_depth(answer("rest/http_spot_market_depth"), "BTCUSDT")
    assert (len(ten.bids), len(ten.asks), ten.last_id) == (10, 10, 14527958487)
    assert spot.read_server_time_ms(answer("spot_rest/server_time_response")) == 1499827319559
    assert spot.read_server_time_ms(answer("rest/http_spot_market_time")) == 1633835466289


def test_filters_and_limits_are_read(um: BinanceUm, spot: BinanceSpot) -> None:
    perp = um.read_instrument(answer("rest/http_futures_market_exchange_info"), "BTCUSDT")
    assert (perp.tick_size, perp.lot_step, perp.qty_max, perp.notional_min) == (
        Decimal("0.1"), Decimal("0.001"), 1000, 10
    )
    assert um.read_rate_limits(answer("rest/http_futures_market_exchange_info")) == (
        RateLimit("weight_1m", 6000, 60.0), RateLimit("orders_1m", 1200, 60.0), RateLimit("orders_10s", 300, 10.0)
    )
    pair = spot.read_instrument(answer("rest/http_spot_market_exchange_info"), "BTCUSDT")
    assert (pair.tick_size, pair.lot_step, pair.qty_min, pair.notional_min) == (
        Decimal("0.01"), Decimal("0.00001"), Decimal("0.00001"), 10  # under its older name, MIN_NOTIONAL
    )
    assert spot.read_rate_limits(answer("rest/http_spot_market_exchange_info")) == (
        RateLimit("weight_1m", 1200, 60.0), RateLimit("orders_10s", 50, 10.0), RateLimit("orders_1d", 160000, 86400.0)
    )
    with pytest.raises(ProtocolViolation, match="exchangeInfo ETHBTC PRICE_FILTER"):
        spot.read_instrument(answer("spot_rest/exchange_info_response"), "ETHBTC")


@pytest.mark.parametrize("pair", ["btcusdt", "btcusdt_quarterly", "ethusdt"])
def test_fees_are_read_in_basis_points(um: BinanceUm, pair: str) -> None:
    fees = um.read_fees(answer(f"rest/http_futures_wallet_commission_rate_{pair}"))
    assert fees == Fees(maker_bps=Decimal(2), taker_bps=Decimal(5))


def test_the_funding_outlook_is_read(um: BinanceUm) -> None:
    outlook = um.read_funding_outlook(answer("rest/http_futures_market_premium_index"))
    assert outlook == FundingOutlook(Decimal("0.00038246"), 1597392000000)
