"""Canaries (I16, FAULTS 78 and 79): secrets that are given, stored, refused, or pasted where they do not belong; then
every GET answer, export, file and log line is searched for them. The fixture of all scenarios does the searching."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import trio
from trio.testing import MockClock

from propbot.domain.instruments import BINANCE_UM
from propbot.kit.redact import REDACTED
from propbot.serve import make_app
from propbot.simulate.oracle.secrets import spellings
from propbot.simulate.world import World, open_world
from tests.scenarios.test_rotation import SECRET, UM_KEY, UM_SECRET, Admin
from tests.secret_search import Search

# no piece of eight of these may be a word that stands anywhere for another reason
TOKEN = "Gh3Nw8Qx7Rk2Vd9Lm4Ts6Wp1Zb8Yc3Fj5Kr0Te"
STORED = {
    "OKX_PERP_API_KEY": "Xu2Pq9Ra4Hg5Jn8Bv2Cx7Mz4", "TELEGRAM_BOT_TOKEN": "781920364:Lq8Wn3Vz7Tk1Kj6Hf3Ds9Qa",
    "BYBIT_LINEAR_API_SECRET": "Cy6Lo/+1Dm=%7Sb4Po0Iu9Yt8",
}
LIVE_KEY = "Re5Iw1Oa8Nb3Vc5Xz7Ml9Kj1"
REFUSED = {UM_KEY: "Jt7Zp3Um2We4Rt6Yu8Io0Pa2Sd", UM_SECRET: "Vb9Ek6Ay5Fg1Hj3Kl5Zx7Cv"}


async def ask_everything(world: World, search: Search) -> int:
    """Each GET route there is, and lists as far back as they go; how many answers were heard."""
    assert world.bot is not None
    app = make_app(world.bot)
    paths = sorted(rule.rule for rule in app.url_map.iter_rules() if "GET" in rule.methods and "<" not in rule.rule)
    transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client:
        for path in paths:
            if path.endswith("/stream"):
                continue  # has no end; what it says is in the journal
            lists = path in ("/api/ui/events", "/api/ui/incidents", "/api/ui/orders", "/api/ui/fills", "/api/ui/lots")
            answer = await client.get(path, params={"limit": "1000"} if lists else None)
            assert answer.status_code < 500 or path in ("/live-readiness", "/healthz"), (path, answer.text)
            search.heard[f"{path} of life {world.starts}"] = f"{answer.headers}\n{answer.text}"
    return len(paths)


async def test_78_no_secret_is_in_logs_answers_exports_or_files(
    tmp_path: Path, autojump_clock: MockClock, secret_search: Search
) -> None:
    async with open_world(tmp_path, EXIT_EDGE_BPS="-3", API_TOKEN=TOKEN, BINANCE_SPOT_API_KEY=LIVE_KEY) as world:
        await world.start_bot()
        secret_search.secrets |= {**STORED, **{f"refused {name}": value for name, value in REFUSED.items()}}
        secret_search.secrets["of the environment"] = LIVE_KEY
        await trio.sleep(5)
        ann = Asker(world)
        stored = await ann.post(SECRET, STORED)
        assert stored.status_code == 200, stored.text
        assert stored.json()["checked"] == dict.fromkeys(STORED, False)
        refused = await ann.post(SECRET, REFUSED)
        assert refused.status_code == 422
        world.inject("binance-um", "odd_answer", count=1, params={"msg": f"no such key: {REFUSED[UM_KEY]}"})
        await trio.sleep(6)  # a venue that says our secret in its own words
        swapped = await ann.post(SECRET, {REFUSED[UM_KEY]: UM_KEY})
        assert swapped.status_code == 422
        for number, answer in enumerate((stored, refused, swapped)):
            secret_search.heard[f"answer {number}"] = answer.text
        assert await ask_everything(world, secret_search) > 15
        await world.kill_bot()
        await world.start_bot()
        await trio.sleep(2)
        await ask_everything(world, secret_search)
        await world.stop_bot()


async def test_79_a_token_that_is_pasted_into_a_reason_is_taken_out_before_it_is_written_down(
    tmp_path: Path, autojump_clock: MockClock, secret_search: Search
) -> None:
    async with open_world(tmp_path, API_TOKEN=TOKEN) as world:
        bot = await world.start_bot()
        await trio.sleep(3)
        ann = Asker(world)
        held = await ann.patch({"mode": "HOLD", "reason": f"my token is {TOKEN}, is that right?"})
        assert held.status_code == 200, held.text
        hold = bot.modes.view.hold
        assert hold is not None
        assert hold.first.reason == f"my token is {REDACTED}, is that right?"
        secret_search.heard["the answer"] = held.text
        await ask_everything(world, secret_search)
        await world.stop_bot()


async def test_79_a_key_that_leaked_is_exchanged_and_the_old_one_opens_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """The drill: a second key, the exchange, the old one taken back; trading never stopped."""
    async with open_world(tmp_path, API_TOKEN=TOKEN) as world:
        bot = await world.start_bot()
        await trio.sleep(3)
        admin, ann = Admin(world), Asker(world)
        pair = admin.make(BINANCE_UM)
        answer = await ann.post(SECRET, {UM_KEY: pair.api_key, UM_SECRET: pair.api_secret})
        assert answer.status_code == 200, answer.text
        assert world.access.inside is not None
        assert world.access.inside.keys[BINANCE_UM].revoke(admin.old(BINANCE_UM))
        await trio.sleep(8)
        assert bot.modes.view.hold is None
        assert bot.unusable(BINANCE_UM) is None


async def test_the_search_itself_finds_what_is_there(
    tmp_path: Path, autojump_clock: MockClock, secret_search: Search
) -> None:
    """A search that can't find proves nothing: one spelling after the other is put where it may not be."""
    async with open_world(tmp_path, API_TOKEN=TOKEN) as world:
        await world.start_bot()
        await world.stop_bot()
        place = tmp_path / "bot" / "exports" / "planted"
        place.parent.mkdir()
        for spelling, needle in spellings(TOKEN).items():
            place.write_bytes(b"before " + needle + b" after")
            assert any(f"({spelling})" in line for line in secret_search.found()), spelling
        place.unlink()


class Asker:
    """Somebody with the token."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def post(self, path: str, body: Any) -> httpx.Response:
        return await self._ask("POST", path, body)

    async def patch(self, body: Any) -> httpx.Response:
        return await self._ask("PATCH", "/api/ui/control", body)

    async def _ask(self, method: str, path: str, body: Any) -> httpx.Response:
        assert self._world.bot is not None
        transport = httpx.ASGITransport(make_app(self._world.bot))  # type: ignore[arg-type]
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client:
            return await client.request(method, path, json=body)
