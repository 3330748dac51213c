"""python-binance pointed at the embedded venues: hosts through its public class attributes, the CA through the
environment (SSL_CERT_FILE, REQUESTS_CA_BUNDLE), and nothing else changed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from binance import AsyncClient, BinanceSocketManager, Client
from binance.exceptions import BinanceAPIException
from verdicts import SYMBOL, amount

SPOT = {"API_URL": "{rest}/api", "MARGIN_API_URL": "{rest}/sapi", "WS_API_URL": "{ws_api}"}
PERP = {"FUTURES_URL": "{rest}/fapi", "WS_FUTURES_URL": "{ws_api}"}
STREAMS = {"STREAM_URL": "{ws}/", "FSTREAM_URL": "{ws}/"}


@dataclass
class Desk:
    """The blocking client and the asynchronous one, both on one account."""

    access: Mapping[str, str]
    rest: Client
    later: AsyncClient
    complaints: list[str] = field(default_factory=list)

    @property
    def sockets(self) -> BinanceSocketManager:
        """A new one each time: a manager hands out a closed socket again if its name comes back."""
        return BinanceSocketManager(self.later)

    def another(self, **keys: str) -> Client:
        """A client with other keys."""
        key, secret = _keys(self.access)
        return Client(keys.get("key", key), keys.get("secret", secret), ping=False)

    def balances(self) -> dict[str, tuple[Decimal, Decimal]]:
        """Spot: asset → (free, locked)."""
        rows = self.rest.get_account()["balances"]
        return {row["asset"]: (amount(row["free"]), amount(row["locked"])) for row in rows}

    def top(self) -> tuple[Decimal, Decimal]:
        row = self.rest.get_orderbook_ticker(symbol=SYMBOL)
        return amount(row["bidPrice"]), amount(row["askPrice"])

    def perp_top(self) -> tuple[Decimal, Decimal]:
        row = self.rest.futures_orderbook_ticker(symbol=SYMBOL)
        return amount(row["bidPrice"]), amount(row["askPrice"])

    def wallet(self) -> Decimal:
        """The perp's wallet balance in USDT."""
        rows = self.rest.futures_account_balance()
        return next(amount(row["balance"]) for row in rows if row["asset"] == "USDT")

    def position(self) -> Decimal:
        rows = self.rest.futures_position_information(symbol=SYMBOL, version=2)
        return amount(rows[0]["positionAmt"])


@asynccontextmanager
async def open_spot(access: Mapping[str, str]) -> AsyncIterator[Desk]:
    _point_at(access, SPOT)
    desk = Desk(access, Client(*_keys(access)), await AsyncClient.create(*_keys(access)))
    yield desk
    await _close(desk)


@asynccontextmanager
async def open_perp(access: Mapping[str, str]) -> AsyncIterator[Desk]:
    """Without the pings that the clients begin with: they go to spot."""
    _point_at(access, PERP)
    desk = Desk(access, Client(*_keys(access), ping=False), AsyncClient(*_keys(access)))
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
