"""The vault on a real folder: what is put is there after a restart, for its owner alone; what fails changes nothing."""

from __future__ import annotations

import os
import stat
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio

from propbot.kit.clock import VirtualClock
from propbot.kit.crash import CrashPoints
from propbot.kit.disk import replace_file
from propbot.kit.threads import open_inline_worker, run_each
from propbot.secrets.keyring import Given, Keyring, Source
from propbot.secrets.master_key import MasterKey, find_master_key, make_key_file
from propbot.secrets.vault import FILE_NAME, Vault, VaultKeeper

KEY, SECRET = "BINANCE_UM_API_KEY_TESTNET", "BINANCE_UM_API_SECRET_TESTNET"
MASTER = MasterKey(b"k" * 32, "a test")


class Killed(BaseException):
    pass


def _die() -> None:
    raise Killed


async def keeper_of(stack: AsyncExitStack, vault: Vault, crash: CrashPoints | None = None) -> VaultKeeper:
    worker = await stack.enter_async_context(open_inline_worker("secrets", run_each))
    return VaultKeeper(vault, worker, crash or CrashPoints(), replace_file, VirtualClock(1_790_000_000_000_000_000))


@pytest.fixture
async def stack():
    async with AsyncExitStack() as stack:
        yield stack


async def test_what_was_put_is_there_in_the_next_life_with_its_version(stack: AsyncExitStack, tmp_path: Path) -> None:
    keeper = await keeper_of(stack, Vault.load(tmp_path, MASTER))
    await keeper.put({KEY: "canary-key-1", SECRET: "canary-secret-1"})
    await keeper.put({SECRET: "canary-secret-2"})
    path = tmp_path / FILE_NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b"canary" not in path.read_bytes()
    again = Vault.load(tmp_path, MASTER)
    assert again.problem is None
    assert {name: (each.version, each.value) for name, each in again.stored.items()} == {
        KEY: (1, "canary-key-1"), SECRET: (2, "canary-secret-2"),
    }


async def test_it_is_for_its_owner_alone_also_where_a_kill_left_a_file_that_was_not(
    stack: AsyncExitStack, tmp_path: Path
) -> None:
    left = tmp_path / f"{FILE_NAME}.tmp"
    left.write_bytes(b"")
    left.chmod(0o666)
    await (await keeper_of(stack, Vault.load(tmp_path, MASTER))).put({KEY: "canary-key"})
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600


@pytest.mark.parametrize(("point", "expected"), [("secret-swap:before", 1), ("secret-swap:after", 2)])
async def test_a_kill_leaves_the_old_file_or_the_new_one(
    stack: AsyncExitStack, tmp_path: Path, point: str, expected: int
) -> None:
    await (await keeper_of(stack, Vault.load(tmp_path, MASTER))).put({KEY: "canary-key-1"})
    dying = await keeper_of(stack, Vault.load(tmp_path, MASTER), CrashPoints(point, _die))
    with pytest.raises(Killed):
        await dying.put({KEY: "canary-key-2"})
    assert Vault.load(tmp_path, MASTER).stored[KEY].version == expected


async def test_a_disk_that_fails_leaves_what_was_in_force(stack: AsyncExitStack, tmp_path: Path) -> None:
    keeper = await keeper_of(stack, Vault.load(tmp_path, MASTER))
    await keeper.put({KEY: "canary-key-1"})
    (tmp_path / f"{FILE_NAME}.tmp").mkdir()
    with pytest.raises(OSError, match=r"directory|permitted"):
        await keeper.put({KEY: "canary-key-2"})
    assert keeper.vault.stored[KEY].value == "canary-key-1"
    assert Vault.load(tmp_path, MASTER).stored[KEY].value == "canary-key-1"


async def test_paper_makes_a_key_with_the_first_secret_and_finds_it_again(
    stack: AsyncExitStack, tmp_path: Path
) -> None:
    data, place = tmp_path / "data", tmp_path / "home" / ".config" / "propbot" / "k"
    data.mkdir()
    vault = Vault.load(data, find_master_key(None, None, place))
    assert vault.refusal() is None
    assert not place.exists(), "looking makes nothing"
    made = await (await keeper_of(stack, vault)).put({KEY: "canary-key"})
    assert made == str(place)
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert [each.name for each in place.parent.iterdir()] == ["k"]
    assert Vault.load(data, find_master_key(None, None, place)).stored[KEY].value == "canary-key"
    assert await (await keeper_of(stack, vault)).put({KEY: "canary-key-2"}) is None


def test_a_key_that_is_there_is_never_made_anew(tmp_path: Path) -> None:
    first = make_key_file(tmp_path / "k", os.urandom)
    assert make_key_file(tmp_path / "k", os.urandom) == first


def test_a_key_file_that_holds_none_is_no_crash(tmp_path: Path) -> None:
    (tmp_path / "k").write_text("")
    vault = Vault.load(tmp_path, find_master_key(None, None, tmp_path / "k"))
    assert "no key to seal" in (vault.refusal() or "")


async def test_a_disk_that_hangs_is_given_up_and_nothing_queues_behind_it(
    stack: AsyncExitStack, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    class Hanging:
        backlog = 0

        async def call(self, fn: object) -> object:
            self.backlog = 1
            await trio.sleep_forever()

    vault = Vault.load(tmp_path, MASTER)
    keeper = VaultKeeper(vault, Hanging(), CrashPoints(), replace_file, VirtualClock(0))
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await keeper.put({KEY: "canary-key"})
    assert trio.current_time() < 3
    assert vault.stored == {}


async def test_stored_ones_win_and_the_source_is_told(stack: AsyncExitStack, tmp_path: Path) -> None:
    vault = Vault.load(tmp_path, MASTER)
    ring = Keyring(vault, {KEY: Given(Source.ENVIRONMENT, "canary-env"), SECRET: Given(Source.ENVIRONMENT, "canary-2")})
    assert ring.value(KEY) == "canary-env"
    await (await keeper_of(stack, vault)).put({KEY: "canary-stored"})
    assert ring.value(KEY) == "canary-stored"
    assert [(row.name, row.source, row.version) for row in ring.rows()] == [
        (KEY, Source.STORED, 1), (SECRET, Source.ENVIRONMENT, None),
    ]
    assert "canary" not in repr(ring)
    assert set(ring.values()) == {"canary-stored", "canary-env", "canary-2"}, "what is hidden is a secret all the same"
