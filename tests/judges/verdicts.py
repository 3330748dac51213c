"""What every judge has in common: its checks in order, one verdict a check, and the words for what a venue must refuse.

Runs in the judges' own interpreter, which has the foreign client and nothing of ours. A judge is a script: functions
named `check_…`, in the order in which they are to run, each given the judge's desk. One JSON line a check on stdout
says how it ended; `test_judges.py` makes a test of each.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

CHECK_S_MAX = 20.0
SYMBOL = "BTCUSDT"

Check = Callable[[Any], Awaitable[None]]
OpenDesk = Callable[[Mapping[str, str]], AbstractAsyncContextManager[Any]]
"""The venue's part of what `propbot venues` printed → the clients, ready to be used."""


def judge(venue: str, open_desk: OpenDesk, names: Mapping[str, Any]) -> None:
    """Run all `check_…` among `names` against the venue; the JSON line of `propbot venues` is in the file argv[1].
    What a desk's `complaints` holds after a check fails it: things that the client only logs."""
    access = json.loads(Path(sys.argv[1]).read_text())["venues"][venue]
    checks = [check for name, check in names.items() if name.startswith("check_")]
    asyncio.run(_run(access, open_desk, checks))


async def _run(access: Mapping[str, str], open_desk: OpenDesk, checks: list[Check]) -> None:
    async with open_desk(access) as desk:
        for check in checks:
            began = time.monotonic()
            why = ""
            try:
                desk.complaints.clear()
                await asyncio.wait_for(check(desk), CHECK_S_MAX)
                assert not desk.complaints, desk.complaints
            except Exception:
                why = traceback.format_exc(limit=-8)
            seconds = round(time.monotonic() - began, 3)
            print(json.dumps({"check": check.__name__, "ok": not why, "seconds": seconds, "why": why}), flush=True)


async def eventually(ask: Callable[[], Any], within_s: float = 5.0) -> Any:
    """The first answer of `ask` that is not None or empty."""
    deadline = time.monotonic() + within_s
    while True:
        found = ask()
        if found:
            return found
        assert time.monotonic() < deadline, f"nothing came within {within_s} s"
        await asyncio.sleep(0.02)


async def collect(receive: Callable[[], Awaitable[Any]], enough: Callable[[list[Any]], bool]) -> list[Any]:
    """What `receive` brings until that is enough, each message in its order."""
    found: list[Any] = []
    while not enough(found):
        found.append(await asyncio.wait_for(receive(), 8.0))
    return found


def amount(text: str) -> Decimal:
    assert isinstance(text, str), f"an amount must be text, not {text!r}"
    return Decimal(text)


def amounts(row: Mapping[str, Any], *names: str) -> list[Decimal]:
    return [amount(row[name]) for name in names]


def total(parts: Iterable[Decimal]) -> Decimal:
    return sum(parts, Decimal(0))


def on_step(price: Decimal, step: str) -> str:
    """`price` down to a multiple of `step`, with the step's digits."""
    return str((price - price % Decimal(step)).quantize(Decimal(step)))


def assert_book(bids: list[Any], asks: list[Any]) -> None:
    """Sorted best first, nothing empty, uncrossed."""
    bid_prices, ask_prices = [amount(level[0]) for level in bids], [amount(level[0]) for level in asks]
    assert bid_prices, "no bids"
    assert ask_prices, "no asks"
    assert bid_prices == sorted(set(bid_prices), reverse=True), bid_prices
    assert ask_prices == sorted(set(ask_prices)), ask_prices
    assert bid_prices[0] < ask_prices[0], (bid_prices[0], ask_prices[0])
    assert all(amount(level[1]) > 0 for level in bids + asks)


def assert_chain(diffs: list[Mapping[str, Any]]) -> None:
    """Depth updates follow each other without a gap: by `pu` on the perp, by `U` on spot."""
    for before, after in pairwise(diffs):
        if "pu" in after:
            assert after["pu"] == before["u"], (before["u"], after["pu"])
        else:
            assert after["U"] == before["u"] + 1, (before["u"], after["U"])
        assert after["U"] <= after["u"], after


class Levels:
    """An order book kept as Binance's manual says, from a snapshot and the diffs after it: an own judge of sequence."""

    def __init__(self, snapshot: Mapping[str, Any]) -> None:
        self.last_id: int = snapshot["lastUpdateId"]
        self.bids = {amount(price): amount(qty) for price, qty in snapshot["bids"]}
        self.asks = {amount(price): amount(qty) for price, qty in snapshot["asks"]}

    def apply(self, diff: Mapping[str, Any]) -> None:
        for side, changes in ((self.bids, diff["b"]), (self.asks, diff["a"])):
            for price, qty in changes:
                side[amount(price)] = amount(qty)
                if amount(qty) == 0:
                    del side[amount(price)]
        self.last_id = diff["u"]

    def best(self) -> tuple[Decimal, Decimal]:
        return max(self.bids), min(self.asks)
