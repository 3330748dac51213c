"""Other keys for a bot that trades: checked at the venue, whole or not at all, and not one order lost (FAULTS 80)."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from attrs import frozen
from trio.testing import MockClock

from propbot.api import models
from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM, Credentials, VenueId
from propbot.domain.mode import Mode
from propbot.serve import make_app
from propbot.simulate.truth import assert_invariants
from propbot.simulate.world import World, open_world
from propbot.simvenue.tls import make_keys

SECRET = "/api/ui/secret"
UM_KEY, UM_SECRET = "BINANCE_UM_API_KEY_TESTNET", "BINANCE_UM_API_SECRET_TESTNET"
SPOT_KEY, SPOT_SECRET = "BINANCE_SPOT_API_KEY_TESTNET", "BINANCE_SPOT_API_SECRET_TESTNET"


@frozen
class Admin:
    """The API of the bot's present life, and its venues' own accounts."""

    world: World

    def make(self, venue: VenueId, seed: int = 7) -> Credentials:
        """A second key of the account."""
        pair = make_keys(random.Random(seed))
        assert self.world.access.inside is not None
        self.world.access.inside.keys[venue].add(pair)
        return pair

    def old(self, venue: VenueId) -> str:
        return self.world.access.venues[venue].api_key

    def used_s(self, venue: VenueId, api_key: str) -> float | None:
        assert self.world.access.inside is not None
        return self.world.access.inside.keys[venue].used_s(api_key)

    async def post(self, values: Mapping[str, str]) -> httpx.Response:
        async with self._client() as client:
            return await client.post(SECRET, json=dict(values))

    async def get(self, path: str) -> Any:
        async with self._client() as client:
            answer = await client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def sources(self) -> dict[str, tuple[str, int | None]]:
        items = models.Secrets.model_validate(await self.get(SECRET)).items
        return {item.name: (item.source, item.version) for item in items}

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[httpx.AsyncClient]:
        assert self.world.bot is not None
        transport = httpx.ASGITransport(make_app(self.world.bot))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            yield client


async def wait_trading(world: World, lots: int = 1) -> None:
    began = len(world.of_kind("fill_booked"))
    with trio.fail_after(90):
        while len(world.of_kind("fill_booked")) < began + 2 * lots:
            await trio.sleep(0.1)


async def test_80_keys_are_exchanged_while_orders_flow_and_none_is_lost(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, EXIT_EDGE_BPS="-3") as world:
        await world.start_bot()
        await wait_trading(world)
        admin = Admin(world)
        um, spot = admin.make(BINANCE_UM, 7), admin.make(BINANCE_SPOT, 8)
        answer = await admin.post({
            UM_KEY: um.api_key, UM_SECRET: um.api_secret, SPOT_KEY: spot.api_key, SPOT_SECRET: spot.api_secret,
        })
        switched_s = trio.current_time()
        assert answer.status_code == 200, answer.text
        done = answer.json()
        assert done["status"] == "ok"
        assert done["checked"] == dict.fromkeys((UM_KEY, UM_SECRET, SPOT_KEY, SPOT_SECRET), True)
        await wait_trading(world, lots=3)
        await trio.sleep(20)
        for venue, pair in ((BINANCE_UM, um), (BINANCE_SPOT, spot)):
            old_used_s, new_used_s = admin.used_s(venue, admin.old(venue)), admin.used_s(venue, pair.api_key)
            assert old_used_s is not None
            assert new_used_s is not None
            assert old_used_s <= switched_s + 1.0, "the old key is not used any more"
            assert new_used_s > switched_s + 10
            assert world.access.inside is not None
            assert world.access.inside.keys[venue].revoke(admin.old(venue))
        await wait_trading(world, lots=2)
        assert all(link.private_up for link in world.bot.links.values())
        assert [row for row in world.of_kind("mode") if row["mode"] == "HOLD"] == []
        assert all(source == ("stored", 1) for source in (await admin.sources()).values())
        await world.stop_bot()
        assert_invariants(world)


async def test_80_a_bad_pair_is_refused_and_the_old_one_stays(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path, EXIT_EDGE_BPS="-3") as world:
        await world.start_bot()
        await wait_trading(world)
        admin = Admin(world)
        good, bad = admin.make(BINANCE_SPOT), make_keys(random.Random(9))
        before = await admin.sources()
        answer = await admin.post({
            UM_KEY: bad.api_key, UM_SECRET: bad.api_secret, SPOT_KEY: good.api_key, SPOT_SECRET: good.api_secret,
        })
        assert answer.status_code == 422
        assert set(answer.json()["error"]["fields"]) == {UM_KEY, UM_SECRET}
        assert bad.api_key not in answer.text
        assert await admin.sources() == before, "the good pair of the same request is not in force either"
        assert not (tmp_path / "bot" / "secrets.enc").exists()
        assert admin.used_s(BINANCE_SPOT, good.api_key) is not None, "it was asked about"

        half = await admin.post({UM_SECRET: bad.api_secret})  # against the key in force
        assert half.status_code == 422
        assert set(half.json()["error"]["fields"]) == {UM_SECRET}
        await wait_trading(world)
        assert world.bot is not None
        assert world.bot.modes.view.mode is Mode.RUN
        await world.stop_bot()
        assert_invariants(world)


async def test_80_a_single_name_is_checked_with_the_half_in_force_and_the_pair_is_stored_whole(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        await world.start_bot()
        admin = Admin(world)
        await trio.sleep(3)
        assert world.access.inside is not None
        other = make_keys(random.Random(5)).api_secret
        world.access.inside.keys[BINANCE_UM].add(Credentials(admin.old(BINANCE_UM), other))
        answer = await admin.post({UM_SECRET: other})
        assert answer.status_code == 200, answer.text
        assert answer.json()["updated"] == [UM_SECRET]
        assert answer.json()["checked"] == {UM_SECRET: True}
        assert any(UM_KEY in warning for warning in answer.json()["warnings"])
        sources = await admin.sources()
        assert sources[UM_KEY] == sources[UM_SECRET] == ("stored", 1)
        assert sources[SPOT_KEY] == ("venue", None)


async def test_a_venue_that_does_not_answer_is_a_check_that_failed(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path) as world:
        await world.start_bot()
        await trio.sleep(3)
        admin = Admin(world)
        pair = admin.make(BINANCE_UM)
        world.inject("binance-um", "blackhole")
        answer = await admin.post({UM_KEY: pair.api_key, UM_SECRET: pair.api_secret})
        assert answer.status_code == 422
        assert "could not be checked" in answer.json()["error"]["fields"][UM_KEY]
        assert (await admin.sources())[UM_KEY] == ("venue", None)


@pytest.mark.parametrize(("point", "in_force"), [("secret-swap:before", "venue"), ("secret-swap:after", "stored")])
async def test_80_a_kill_around_the_write_leaves_the_old_pair_or_the_new_one_and_nothing_between(
    tmp_path: Path, autojump_clock: MockClock, point: str, in_force: str
) -> None:
    async with open_world(tmp_path, EXIT_EDGE_BPS="-3") as world:
        await world.start_bot(point)
        await wait_trading(world)
        admin = Admin(world)
        pair = admin.make(BINANCE_UM)
        with pytest.raises(BaseException):  # noqa: B017 (the life ends in the middle of the request)
            await admin.post({UM_KEY: pair.api_key, UM_SECRET: pair.api_secret})
        await world.wait_dead()
        bot = await world.start_bot()
        sources = await admin.sources()
        assert sources[UM_KEY][0] == sources[UM_SECRET][0] == in_force
        await wait_trading(world)
        assert bot.modes.view.mode is Mode.RUN, bot.modes.view
        await world.stop_bot()
        assert_invariants(world)


async def test_a_restart_signs_with_what_was_stored_and_versions_count_on(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        await world.start_bot()
        await trio.sleep(3)
        admin = Admin(world)
        for seed in (3, 4):
            pair = admin.make(BINANCE_UM, seed)
            answer = await admin.post({UM_KEY: pair.api_key, UM_SECRET: pair.api_secret})
            assert answer.status_code == 200, answer.text
        await world.stop_bot()
        assert world.access.inside is not None
        world.access.inside.keys[BINANCE_UM].revoke(admin.old(BINANCE_UM))
        bot = await world.start_bot()
        await trio.sleep(5)
        assert bot.unusable(BINANCE_UM) is None
        assert (await admin.sources())[UM_KEY] == ("stored", 2)
        component = bot.board.component("secrets")
        assert component is not None
        assert component.metrics[f"{UM_KEY}.version"] == 2
        assert 0 < component.metrics[f"{UM_KEY}.age_s"] < 60  # type: ignore[operator]


def another_key(folder: Path, home: Path) -> None:
    key = home / ".config" / "propbot" / "paper-secrets.key"
    key.write_text("ab" * 32)


def torn(folder: Path, home: Path) -> None:
    path = folder / "secrets.enc"
    path.write_bytes(path.read_bytes()[:200])


def foreign(folder: Path, home: Path) -> None:
    (folder / "secrets.enc").write_text('{"some": "thing"}')


def exchanged(folder: Path, home: Path) -> None:
    path = folder / "secrets.enc"
    body = json.loads(path.read_bytes())
    one, other = body["records"][:2]
    one["sealed"], other["sealed"] = other["sealed"], one["sealed"]
    one["nonce"], other["nonce"] = other["nonce"], one["nonce"]
    path.write_text(json.dumps(body))


def without_key(folder: Path, home: Path) -> None:
    (home / ".config" / "propbot" / "paper-secrets.key").unlink()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (another_key, "sealed with another key"), (torn, "torn"), (foreign, "no file of secrets"),
        (exchanged, "was changed, or belongs elsewhere"), (without_key, "its key is missing"),
    ],
)
async def test_a_file_of_secrets_that_cannot_be_opened_is_a_hold_that_says_why(
    tmp_path: Path, autojump_clock: MockClock, spoil: Any, said: str
) -> None:
    async with open_world(tmp_path) as world:
        await world.start_bot()
        await trio.sleep(3)
        admin = Admin(world)
        pair = admin.make(BINANCE_UM)
        assert (await admin.post({UM_KEY: pair.api_key, UM_SECRET: pair.api_secret})).status_code == 200
        await world.stop_bot()
        spoil(tmp_path / "bot", tmp_path / "home")
        content = (tmp_path / "bot" / "secrets.enc").read_bytes()
        bot = await world.start_bot()
        hold = bot.modes.view.hold
        assert hold is not None
        assert hold.first.source == "guard:secrets"
        assert said in hold.first.reason
        answer = await admin.post({UM_KEY: pair.api_key, UM_SECRET: pair.api_secret})
        assert answer.status_code == 409
        assert (tmp_path / "bot" / "secrets.enc").read_bytes() == content, "what can't be read is not overwritten"
