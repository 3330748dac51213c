"""Dialects with the key pair of Binance's own published examples, replies, and the shared sample messages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from propbot.domain.dialect import HttpReply
from propbot.domain.instruments import Credentials
from propbot.venues.binance_spot import BinanceSpot
from propbot.venues.binance_um import BinanceUm

SHARED = Path(__file__).resolve().parents[3].parent / "shared"

UM_SECRET = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"
SPOT_KEY = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
SPOT_SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"

Reply = Callable[..., HttpReply]
Sample = Callable[[str], bytes]


@pytest.fixture
def um() -> BinanceUm:
    return BinanceUm(Credentials("um-key", UM_SECRET))


@pytest.fixture
def spot() -> BinanceSpot:
    return BinanceSpot(Credentials(SPOT_KEY, SPOT_SECRET))


@pytest.fixture
def reply() -> Reply:
    """`reply(body, status=200, headers=None)`: a dict or list is sent as JSON, text and bytes as they are."""

    def build(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> HttpReply:
        if isinstance(body, str):
            body = body.encode()
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
        return HttpReply(status, headers or {}, raw)

    return build


@pytest.fixture
def sample() -> Sample:
    """A sample message of the shared folder, by its path below the Binance samples."""

    def read(name: str) -> bytes:
        path = SHARED / "venues/fixtures/binance/test_data" / name
        if not path.exists():
            pytest.skip("the shared folder with sample messages is not beside this checkout")
        return path.read_bytes()

    return read
