"""Minimal loops of the bot's own parts, each run as a program: what rig and parts cost when nothing else is done.

    python -m tests.bench.loops memory --recording FILE          decode; decode and book; decode, book and screen
    python -m tests.bench.loops reader --access FILE --kind websockets|trio-websocket|bare --frames N
    python -m tests.bench.loops order --access FILE              answers paying ticks with prepared orders

`ws` is the bot's WebSocket layer alone, whatever it is today (`kit.ws`): frames are received and dropped. `bare` is a
loop that knows only unfragmented text frames, and decodes them: about the least that Python can do. `order` is blocking
sockets, that same parser, and orders that were signed before the tick came: what the rig itself, TLS and the kernel
cost between a tick and its orders.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import os
import random
import resource
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import trio

from propbot.books.book import OrderBook
from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM
from propbot.domain.market import DepthSnapshot, TopOfBook
from propbot.kit.net import TcpNetwork, parse_address
from propbot.kit.ws_clients import WS_CLIENTS
from propbot.spread.edge import Costs, Prices, compute_edge
from propbot.venues.binance_um.dialect import BinanceUm
from tests.bench import recorded

PUBLIC_PATH = "/public/stream?streams=btcusdt@depth@100ms/btcusdt@bookTicker"
_RECEIVE_BYTES = 64 * 1024
_HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def used_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class BareFrames:
    """Unmasked, unfragmented frames out of bytes as they come. Control frames come out as empty payloads."""

    def __init__(self) -> None:
        self._left = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        data = self._left + data if self._left else data
        at, end = 0, len(data)
        while end - at >= 2:
            size, head = data[at + 1], 2
            if size == 126:
                head = 4
                size = int.from_bytes(data[at + 2 : at + 4], "big")
            elif size == 127:
                head = 10
                size = int.from_bytes(data[at + 2 : at + 10], "big")
            stop = at + head + size
            if end - at < head or stop > end:
                break
            yield data[at + head : stop] if data[at] == 0x81 else b""
            at = stop
        self._left = data[at:]


# --- in memory


def run_memory(path: Path) -> None:
    """Microseconds of CPU a frame, once through the recording for each loop."""
    read = recorded.load(path, time.time_ns() // 1_000_000)
    frames = [payload.decode() for payload in (*read.prefix, *read.flood)]
    dialect_read = BinanceUm.frames.read
    told: dict[str, Any] = {"frames": len(frames)}
    told["decode_us"] = _us_each(frames, dialect_read)
    book = _book(read)
    told["book_us"] = _us_each(frames, lambda frame: book.apply(dialect_read(frame)))
    assert book.synced, book.loss_reason
    um, spot = _book(read), _quiet_spot(read.mid)

    def screen(frame: str) -> None:
        um.apply(dialect_read(frame))
        if um.synced:
            _screen(um, spot, 0.016)
            _screen(spot, um, 0.016)

    told["screen_us"] = _us_each(frames, screen)
    print(json.dumps(told), flush=True)


def _us_each(frames: list[str], take: Callable[[str], Any]) -> float:
    began = time.process_time()
    for frame in frames:
        take(frame)
    return (time.process_time() - began) / len(frames) * 1e6


def _book(read: recorded.Recorded) -> OrderBook:
    book = OrderBook(BINANCE_UM, "BTCUSDT")
    dialect_read = BinanceUm.frames.read
    for payload in read.prefix:
        book.apply(dialect_read(payload))
    book.apply_snapshot(read.snapshot)
    return book


def _quiet_spot(mid: float) -> OrderBook:
    book = OrderBook(BINANCE_SPOT, "BTCUSDT")
    bid, ask = f"{mid:.2f}", f"{mid + 0.01:.2f}"
    book.apply_snapshot(DepthSnapshot(BINANCE_SPOT, "BTCUSDT", 1, [(bid, "5.0")], [(ask, "5.0")]))
    book.apply(TopOfBook(BINANCE_SPOT, "BTCUSDT", 2, bid, "5.0", ask, "5.0", None))
    return book


def _screen(buy: OrderBook, sell: OrderBook, size: float) -> float:
    """Both directions' edge from the tops alone, as a minimal bot would."""
    prices = Prices(buy.best_ask, buy.best_bid, sell.best_bid, sell.best_ask)
    return compute_edge(prices, 0.0, Costs(0.0, 0.0, 0.0, 0.0)).net


# --- from the socket


async def run_reader(access: dict[str, Any], kind: str, frames_wanted: int) -> None:
    """Take `frames_wanted` frames after the prefix; CPU and the moment of the last one."""
    address = parse_address(access["venues"][BINANCE_UM]["ws"])
    context = ssl.create_default_context(cafile=access["ca_file"])
    stream = await TcpNetwork(context).connect(address)
    if kind in WS_CLIENTS:
        async with WS_CLIENTS[kind](stream, host=address.authority, target=PUBLIC_PATH) as ws:
            for _ in range(access["prefix"]):
                await ws.receive()
            _say({"ready": True})
            began = used_cpu_s()
            for _ in range(frames_wanted):
                await ws.receive()
            _say({"last_ns": time.monotonic_ns(), "cpu_s": used_cpu_s() - began, "frames": frames_wanted})
        return
    await stream.send_all(_HANDSHAKE.format(path=PUBLIC_PATH, host=address.authority).encode())
    data = b""
    while b"\r\n\r\n" not in data:
        data += bytes(await stream.receive_some(_RECEIVE_BYTES))
    parser, read, count = BareFrames(), BinanceUm.frames.read, 0
    data = data.partition(b"\r\n\r\n")[2]
    began, ready = 0.0, False
    while True:
        for frame in parser.feed(data):
            read(frame)
            count += 1
        if not ready and count >= access["prefix"]:
            ready = True
            _say({"ready": True})
            began = used_cpu_s()
        if count >= access["prefix"] + frames_wanted:
            break
        data = bytes(await stream.receive_some(_RECEIVE_BYTES))
    _say({"last_ns": time.monotonic_ns(), "cpu_s": used_cpu_s() - began, "frames": frames_wanted})
    await trio.aclose_forcefully(stream)


# --- the least that answers a tick


class _Top(msgspec.Struct, gc=False):
    u: int
    b: str
    a: str


class _Envelope(msgspec.Struct, gc=False):
    data: _Top


class _OrderLine:
    """One venue's order connection and its next order, made before it is needed."""

    def __init__(self, name: str, access: dict[str, Any], context: ssl.SSLContext) -> None:
        self._is_perp = name == BINANCE_UM
        self._key, self._secret = access["api_key"], access["api_secret"].encode()
        self._path = "/fapi/v1/order" if self._is_perp else "/api/v3/order"
        self._host, self._socket = _connect(access["rest"], context)
        self._made_s = 0.0
        self._next = b""
        self._made_for = ""

    def prepare(self, side: str, bid: float) -> None:
        """Sign the next order; again when it has grown old."""
        if side == self._made_for and time.monotonic() - self._made_s < 1.0:
            return
        price = bid * (1.01 if side == "BUY" else 0.99)
        params = {
            "symbol": "BTCUSDT", "side": side, "type": "LIMIT", "timeInForce": "IOC", "quantity": "0.016",
            "price": f"{price:.1f}", "newClientOrderId": f"floor{random.getrandbits(64):x}",
            "newOrderRespType": "RESULT", "timestamp": str(time.time_ns() // 1_000_000),
        }
        query = urlencode(params)
        signature = hmac.new(self._secret, query.encode(), hashlib.sha256).hexdigest()
        self._next = (
            f"POST {self._path}?{query}&signature={signature} HTTP/1.1\r\nHost: {self._host}\r\n"
            f"X-MBX-APIKEY: {self._key}\r\nContent-Length: 0\r\n\r\n"
        ).encode()
        self._made_for, self._made_s = side, time.monotonic()

    def send(self) -> None:
        self._socket.sendall(self._next)
        self._made_for = ""

    def read_reply(self) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._socket.recv(_RECEIVE_BYTES)
        head, _, body = data.partition(b"\r\n\r\n")
        size = next(
            int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
        )
        while len(body) < size:
            body += self._socket.recv(_RECEIVE_BYTES)
        if b" 200 " not in head.split(b"\r\n")[0]:
            raise RuntimeError(f"the minimal client's order was refused: {body[:300]!r}")


def run_order(access: dict[str, Any]) -> None:
    """Until the connection ends: buy spot and sell the perpetual when that pays, and the reverse when it is over."""
    context = ssl.create_default_context(cafile=access["ca_file"])
    venues = access["venues"]
    um, spot = (_OrderLine(name, venues[name], context) for name in (BINANCE_UM, BINANCE_SPOT))
    host, stream = _connect(venues[BINANCE_UM]["ws"], context)
    stream.sendall(_HANDSHAKE.format(path=PUBLIC_PATH, host=host).encode())
    data = b""
    while b"\r\n\r\n" not in data:
        data += stream.recv(_RECEIVE_BYTES)
    data = data.partition(b"\r\n\r\n")[2]
    parser, decode = BareFrames(), msgspec.json.Decoder(_Envelope).decode
    spot_ask, held = float(access["spot_ask"]), False
    _say({"ready": True})
    while True:
        for frame in parser.feed(data):
            if b"@bookTicker" not in frame:
                continue
            top = decode(frame).data
            edge_bps = (float(top.b) - spot_ask) / spot_ask * 10_000
            if (edge_bps >= 5.0) is held:
                continue
            um.send()
            spot.send()
            held = not held
            um.read_reply()
            spot.read_reply()
        um.prepare("BUY" if held else "SELL", spot_ask)
        spot.prepare("SELL" if held else "BUY", spot_ask)
        data = stream.recv(_RECEIVE_BYTES)
        if not data:
            return


def _connect(url: str, context: ssl.SSLContext) -> tuple[str, socket.socket]:
    address = parse_address(url)
    plain = socket.create_connection((address.host, address.port))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not address.tls:
        return address.authority, plain
    return address.authority, context.wrap_socket(plain, server_hostname=address.host)


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("loop", choices=("memory", "reader", "order"))
    parser.add_argument("--recording", type=Path)
    parser.add_argument("--access", type=Path, help="what the venues' process printed, and what the loop needs beside")
    parser.add_argument("--kind", choices=(*WS_CLIENTS, "bare"), default="bare")
    parser.add_argument("--frames", type=int, default=0)
    options = parser.parse_args()
    if options.loop == "memory":
        run_memory(options.recording)
        return
    access = json.loads(options.access.read_text())
    if options.loop == "order":
        run_order(access)
    else:
        trio.run(run_reader, access, options.kind, options.frames)


if __name__ == "__main__":
    main()
    os._exit(0)  # connections are the kernel's to close
