"""python-binance pointed at the embedded venues: hosts through its public class attributes, the CA through the
environment (SSL_CERT_FILE, REQUESTS_CA_BUNDLE), and nothing else changed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, ClassVar

from binance import AsyncClient, BinanceSocketManager, Client
from binance.exceptions import BinanceAPIException
from verdicts import SYMBOL, amount, on_step

SPOT = {"API_URL": "{rest}/api", "MARGIN_API_URL": "{rest}/sapi", "WS_API_URL": "{ws_api}"}
PERP = {"FUTURES_URL": "{rest}/fapi", "WS_FUTURES_URL": "{ws_api}"}
WEIGHTS, COUNTS = "X-MBX-USED-WEIGHT-", "X-MBX-ORDER-COUNT-"
STREAMS = {"STREAM_URL": "{ws}/", "FSTREAM_URL": "{ws}/"}


@dataclass
class Desk:
    """The blocking client and the asynchronous one, both on one account."""

    tick: ClassVar[str]
    access: Mapping[str, str]
    rest: Client
    later: AsyncClient
    complaints: list[str] = field(default_factory=list)

    @property
    def sockets(self) -> BinanceSocketManager:
        """A new one each time: a manager hands out a closed socket again if its name comes back."""
        return BinanceSocketManager(self.later)

    def top(self) -> tuple[Decimal, Decimal]:
        """The best bid and ask."""
        raise NotImplementedError

    def far_below(self) -> str:
        """A price at which a buy rests."""
        return on_step(self.top()[0] * Decimal("0.98"), self.tick)

    def above(self) -> str:
        """A price at which a buy crosses, wherever the market jumps meanwhile."""
        return on_step(self.top()[1] * Decimal("1.005"), self.tick)

    def another(self, **keys: str) -> Client:
        """A client with other keys."""
        key, secret = _keys(self.access)
        return Client(keys.get("key", key), keys.get("secret", secret), ping=False)


class SpotDesk(Desk):
    tick = "0.01"

    def balances(self) -> dict[str, tuple[Decimal, Decimal]]:
        """Asset → (free, locked)."""
        rows = self.rest.get_account()["balances"]
        return {row["asset"]: (amount(row["free"]), amount(row["locked"])) for row in rows}

    def top(self) -> tuple[Decimal, Decimal]:
        row = self.rest.get_orderbook_ticker(symbol=SYMBOL)
        return amount(row["bidPrice"]), amount(row["askPrice"])


class PerpDesk(Desk):
    tick = "0.10"

    def wallet(self) -> Decimal:
        """The wallet balance in USDT."""
        rows = self.rest.futures_account_balance()
        return next(amount(row["balance"]) for row in rows if row["asset"] == "USDT")

    def position(self) -> Decimal:
        rows = self.rest.futures_position_information(symbol=SYMBOL, version=2)
        return amount(rows[0]["positionAmt"])

    def top(self) -> tuple[Decimal, Decimal]:
        row = self.rest.futures_orderbook_ticker(symbol=SYMBOL)
        return amount(row["bidPrice"]), amount(row["askPrice"])

    def limit_buy(self, price: str, quantity: str = "0.01", **more: Any) -> Any:
        asked = {"timeInForce": "GTC", **more}
        return self.rest.futures_create_order(
            symbol=SYMBOL, side="BUY", type="LIMIT", quantity=quantity, price=price, **asked
        )

    def market(self, side: str, quantity: str, **more: Any) -> Any:
        """With the answer that tells what became of it."""
        return self.rest.futures_create_order(
            symbol=SYMBOL, side=side, type="MARKET", quantity=quantity, newOrderRespType="RESULT", **more
        )


@asynccontextmanager
async def open_spot(access: Mapping[str, str]) -> AsyncIterator[SpotDesk]:
    _point_at(access, SPOT)
    desk = SpotDesk(access, Client(*_keys(access)), await AsyncClient.create(*_keys(access)))
    yield desk
    await _close(desk)


@asynccontextmanager
async def open_perp(access: Mapping[str, str]) -> AsyncIterator[PerpDesk]:
    """Without the pings that the clients begin with: they go to spot."""
    _point_at(access, PERP)
    desk = PerpDesk(access, Client(*_keys(access), ping=False), AsyncClient(*_keys(access)))
    yield desk
    await _close(desk)


async def _close(desk: Desk) -> None:
    """The sessions alone: its own close waits up to ten seconds for a WebSocket that the process's end closes too."""
    desk.rest.close_connection()
    await desk.later.session.close()


def _keys(access: Mapping[str, str]) -> tuple[str, str]:
    return access["api_key"], access["api_secret"]


def _point_at(access: Mapping[str, str], urls: Mapping[str, str]) -> None:
    for client in (Client, AsyncClient):
        for name, url in urls.items():
            setattr(client, name, url.format(**access))
    for name, url in STREAMS.items():
        setattr(BinanceSocketManager, name, url.format(**access))


async def left_open(socket: Any) -> Any:
    """`socket`, connected, to be closed by the process's end: its own close waits ten seconds for one more message."""
    return await socket.__aenter__()


@contextmanager
def refused(code: int, status: int = 400, text: str = "") -> Iterator[None]:
    """What is inside must be refused by the venue with this code, HTTP status and text."""
    try:
        yield
    except BinanceAPIException as refusal:
        assert (refusal.code, refusal.status_code) == (code, status), (refusal.status_code, str(refusal))
        assert text in refusal.message, str(refusal)
    else:
        raise AssertionError(f"not refused; {code} was due")


def header_counts(client: Client, prefix: str) -> dict[str, int]:
    """The counts that the last answer's headers carry, by window."""
    headers = {name.upper(): value for name, value in client.response.headers.items()}
    return {name.removeprefix(prefix): int(value) for name, value in headers.items() if name.startswith(prefix)}
