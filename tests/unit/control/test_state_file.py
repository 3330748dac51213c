"""`runtime_state.json`: what was written is what is read, and anything else is a reason, never a guess."""

from __future__ import annotations

import errno
import json
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from propbot.control.keeper import RESERVE_NAME, open_state_keeper
from propbot.control.modes import ModeView
from propbot.control.parameters import Parameters
from propbot.control.state_file import (
    FILE_NAME,
    SINCE_SCHEMA_2,
    BadStateFile,
    RuntimeState,
    _checksum,
    decode_state,
    encode_state,
    load_state,
    save_state,
)
from propbot.domain.events import Head
from propbot.domain.mode import CancelResult, Cause, HoldRecord, Mode
from propbot.kit.crash import CrashPoints
from propbot.kit.disk import RESERVE_BYTES, replace_file
from propbot.kit.threads import open_inline_worker, open_thread_worker
from propbot.spread.reference import BasisState

if TYPE_CHECKING:
    from tests.unit.control.conftest import Rows

CAUSES = st.builds(
    Cause, reason=st.text(max_size=20), source=st.text(max_size=20), since_ns=st.integers(0, 2**62),
    lasting=st.booleans(),
)  # fmt: skip
HOLDS = st.builds(
    HoldRecord,
    causes=st.lists(CAUSES, min_size=1, max_size=3).map(tuple),
    cancel=st.none() | st.builds(CancelResult, left=st.integers(0, 9), seconds=st.floats(0, 9)),
)
VIEWS = st.builds(
    ModeView,
    mode=st.sampled_from([Mode.RUN, Mode.DRAIN]), safe_mode=st.booleans(), dry_run_only=st.booleans(),
    before=st.sampled_from(Mode),
) | st.builds(
    ModeView, mode=st.just(Mode.HOLD), safe_mode=st.booleans(), dry_run_only=st.booleans(), hold=HOLDS,
    before=st.sampled_from(Mode),
)  # fmt: skip
TEXTS = st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=3)
FINITE = st.floats(-1e6, 1e6)
STATES = st.builds(
    RuntimeState,
    view=VIEWS,
    basis=st.none() | st.builds(BasisState, FINITE, FINITE, FINITE, st.integers(0, 2**62)),
    generation=st.integers(0, 2**40),
    counters=TEXTS,
    parameters=st.builds(Parameters, TEXTS, TEXTS),
    head=st.none() | st.builds(Head, st.integers(0, 2**62), st.text(max_size=64)),
)
HELD = RuntimeState(
    ModeView(
        Mode.HOLD, True, False,
        HoldRecord((Cause("Grund: „ß“", "guard:recon", 17), Cause("two", "shutdown", 18)), CancelResult(0, 0.12)),
        Mode.DRAIN,
    ),
    BasisState(-3.25, 100.0, 250.5, 1_790_000_000_000_000_000),
    41,
    {"day_peak_usdt": "200012.5"},
    Parameters({"min_spread_bps": "1"}, {"min_spread_bps": "2.5"}),
    Head(17, "ab" * 32),
)  # fmt: skip


@given(STATES)
def test_a_state_survives_the_file(state: RuntimeState) -> None:
    assert decode_state(encode_state(state)) == state


def test_a_file_torn_at_any_byte_is_refused() -> None:
    content = encode_state(HELD)
    for length in range(len(content)):
        with pytest.raises(BadStateFile):
            decode_state(content[:length])


def test_any_single_byte_that_changed_is_refused_or_means_the_same() -> None:
    content = encode_state(HELD)
    for index in range(len(content)):
        for replaced in (b"0", b" ", b"\xff", b"\x00"):
            edited = content[:index] + replaced + content[index + 1 :]
            try:
                assert decode_state(edited) == HELD  # blanks between tokens
            except BadStateFile:
                continue


@pytest.mark.parametrize(
    "content",
    [
        b"", b"null", b"[]", b"{}", b'"text"', b"7", b"\xff\xfe", b"[" * 100_000, b'{"checksum": 1}',
        b'{"mode": "RUN", "checksum": "x"}', b'{"a": NaN, "checksum": "x"}',
    ],
    ids=range(11),
)  # fmt: skip
def test_a_foreign_file_is_refused(content: bytes) -> None:
    with pytest.raises(BadStateFile):
        decode_state(content)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema": 3}, "schema 3, this version knows 1 to 2"),
        ({"schema": 0}, "schema 0"),
        ({"schema": True, "counters": 1}, "schema True"),
        ({"counters": {"day_peak": 1.5}}, "day_peak: not a text"),
        ({"counters": None}, "not a runtime state"),
        ({"parameters": {"environment": {}}}, "patched"),
        ({"parameters": {"environment": {}, "patched": {"min_spread_bps": 2}}}, "min_spread_bps: not a text"),
        ({"audit_head": {"id": 3}}, "hash"),
        ({"audit_head": {"id": "x", "hash": "y"}}, "x"),
        ({"mode": "WALK"}, "WALK"),
        ({"mode": "HOLD", "hold": None}, "HOLD"),
        ({"mode": "RUN"}, "hold"),
        ({"hold": {"causes": [], "cancel": None}}, "without a cause"),
        ({"hold": {"causes": [{"reason": "x"}], "cancel": None}}, "source"),
        ({"generation": "many"}, "many"),
        ({"basis": {"value_bps": 1}}, "weight_s"),
    ],
)
def test_a_whole_file_that_says_what_we_never_write_is_refused(changes: dict[str, object], said: str) -> None:
    body = json.loads(encode_state(HELD))
    del body["checksum"]
    body |= changes
    with pytest.raises(BadStateFile, match=said):
        decode_state(json.dumps({**body, "checksum": _checksum(body)}).encode())


def test_a_file_of_schema_1_is_read_and_what_it_did_not_know_is_empty() -> None:
    body = json.loads(encode_state(HELD))
    for name in ("checksum", *SINCE_SCHEMA_2):
        del body[name]
    body["schema"] = 1
    for cause in body["hold"]["causes"]:
        del cause["lasting"]
    read = decode_state(json.dumps({**body, "checksum": _checksum(body)}).encode())
    assert read == RuntimeState(HELD.view, HELD.basis, HELD.generation)
    assert decode_state(encode_state(read)) == read


def test_no_file_is_no_state(tmp_path: Path) -> None:
    assert load_state(tmp_path) is None


def test_a_bad_file_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"{")
    with pytest.raises(BadStateFile, match=str(tmp_path / FILE_NAME)):
        load_state(tmp_path)


def test_a_folder_in_its_place_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(BadStateFile, match=f"{FILE_NAME}: Is a directory"):
        load_state(tmp_path)


@pytest.mark.parametrize("point", ["state-rename:before", "state-rename:after"])
def test_a_kill_around_the_rename_leaves_the_old_state_or_the_new(tmp_path: Path, point: str) -> None:
    class Killed(BaseException):
        pass

    def kill() -> None:
        raise Killed

    old, new = HELD, RuntimeState(ModeView(Mode.RUN, False, False), None, 42)
    save_state(tmp_path, old, CrashPoints())
    with pytest.raises(Killed):
        save_state(tmp_path, new, CrashPoints(point, kill))
    assert load_state(tmp_path) == (old if point.endswith("before") else new)


# --- the keeper


async def test_the_keeper_finds_what_an_earlier_life_left_and_counts_on(tmp_path: Path, rows: Rows) -> None:
    async with open_state_keeper(tmp_path, open_inline_worker, CrashPoints(), rows) as keeper:
        assert (keeper.stored, keeper.problem) == (None, None)
        await keeper.save(HELD.view, HELD.basis)
        await keeper.save(HELD.view, None)
    assert rows.kinds == ["state_saved"], "the same mode again is no news"
    async with open_state_keeper(tmp_path, open_inline_worker, CrashPoints(), rows) as keeper:
        assert keeper.stored == RuntimeState(HELD.view, None, 2, ended=False)
        await keeper.save(HELD.view, None)
    stored = load_state(tmp_path)
    assert stored is not None
    assert stored.generation == 3


async def test_a_bad_file_is_a_problem_with_advice_and_no_state(tmp_path: Path, rows: Rows) -> None:
    (tmp_path / FILE_NAME).write_bytes(encode_state(HELD)[:-1])
    async with open_state_keeper(tmp_path, open_inline_worker, CrashPoints(), rows) as keeper:
        assert keeper.stored is None
        assert keeper.problem is not None
        assert FILE_NAME in keeper.problem
        assert "resume" in keeper.problem
        await keeper.save(HELD.view, None)
    assert load_state(tmp_path) is not None


def _open_at(folder: Path, rows: Rows, second: int) -> Any:
    return open_state_keeper(
        folder, open_inline_worker, CrashPoints(), rows, wall_ns=lambda: second * 1_000_000_000 + 5
    )


async def test_a_bad_file_is_kept_aside_once_and_stays_in_place_until_a_new_one_is_whole(
    tmp_path: Path, rows: Rows
) -> None:
    bad = encode_state(HELD)[:-1]
    (tmp_path / FILE_NAME).write_bytes(bad)
    for second in (7, 8):  # killed before it saved anything: the next start must not look like a fresh one
        async with _open_at(tmp_path, rows, second) as keeper:
            assert f"kept as {FILE_NAME}.bad-7;" in keeper.problem
        assert (tmp_path / FILE_NAME).read_bytes() == bad
    async with _open_at(tmp_path, rows, 9) as keeper:
        await keeper.save(HELD.view, None)
    assert load_state(tmp_path) is not None
    assert [each.name for each in tmp_path.glob(f"{FILE_NAME}.bad-*")] == [f"{FILE_NAME}.bad-7"]
    assert (tmp_path / f"{FILE_NAME}.bad-7").read_bytes() == bad


async def test_a_folder_in_the_files_place_leaves_it(tmp_path: Path, rows: Rows) -> None:
    (tmp_path / FILE_NAME).mkdir()
    async with _open_at(tmp_path, rows, 7) as keeper:
        assert f"kept as {FILE_NAME}.bad-7;" in keeper.problem
        await keeper.save(HELD.view, None)
    assert load_state(tmp_path) is not None


async def test_on_a_full_disk_the_reserve_makes_room_for_the_state(tmp_path: Path, rows: Rows) -> None:
    left = [0]

    def replace(path: Path, content: bytes, crash: CrashPoints, **more: Any) -> None:
        if (tmp_path / RESERVE_NAME).exists() and left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace_file(path, content, crash, **more)

    async with open_state_keeper(tmp_path, open_inline_worker, CrashPoints(), rows, replace) as keeper:
        assert (tmp_path / RESERVE_NAME).stat().st_blocks * 512 >= RESERVE_BYTES
        await keeper.save(ModeView(Mode.RUN, False, False), None)
        assert not keeper.reserve_used
        left[0] = 1
        await keeper.save(HELD.view, None)
        assert keeper.reserve_used
        assert keeper.failed is None
        assert not (tmp_path / RESERVE_NAME).exists()
    stored = load_state(tmp_path)
    assert stored is not None
    assert stored.view == HELD.view
    async with open_state_keeper(tmp_path, open_inline_worker, CrashPoints(), rows):
        assert (tmp_path / RESERVE_NAME).exists(), "made again"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
async def test_where_no_reserve_helps_the_failure_is_told(tmp_path: Path, rows: Rows, number: int) -> None:
    def replace(path: Path, content: bytes, crash: CrashPoints, **more: Any) -> None:
        raise OSError(number, "it fails")

    async with open_state_keeper(tmp_path, open_inline_worker, CrashPoints(), rows, replace) as keeper:
        with pytest.raises(OSError, match="it fails"):
            await keeper.save(HELD.view, None)
        assert keeper.failed == f"{FILE_NAME}: it fails"
        assert keeper.lacks(HELD.view, Parameters())
        assert (tmp_path / RESERVE_NAME).exists() == (number == errno.EIO), "only room is made room for"


async def test_a_stop_is_kept_as_a_stop_also_where_nothing_else_changes(
    tmp_path: Path, rows: Rows, autojump_clock: Any
) -> None:
    async with _open_at(tmp_path, rows, 7) as keeper:
        await keeper.save(HELD.view, None)
        keeper.ending = True
        with trio.move_on_after(5) as scope:
            await keeper.wait_saved(lambda: HELD.view)
        assert scope.cancelled_caught
        await keeper.save(HELD.view, None)
        await keeper.wait_saved(lambda: HELD.view)
        assert not keeper.lacks(HELD.view, Parameters())
    stored = load_state(tmp_path)
    assert stored is not None
    assert stored.ended


async def test_a_change_of_parameters_is_waited_for(tmp_path: Path, rows: Rows, autojump_clock: Any) -> None:
    view, changed = ModeView(Mode.RUN, False, False), Parameters({}, {"min_spread_bps": "2"})
    async with _open_at(tmp_path, rows, 7) as keeper:
        await keeper.save(view, None, parameters=Parameters())
        await keeper.wait_saved(lambda: view)
        with trio.move_on_after(5) as scope:
            await keeper.wait_saved(lambda: view, lambda: changed)
        assert scope.cancelled_caught
        await keeper.save(view, None, parameters=changed)
        await keeper.wait_saved(lambda: view, lambda: changed)
    stored = load_state(tmp_path)
    assert stored is not None
    assert stored.parameters == changed


async def test_a_disk_that_hangs_is_given_up_and_no_queue_grows_behind_it(tmp_path: Path, rows: Rows) -> None:
    hang = threading.Event()

    def hanging(path: Path, content: bytes, crash: CrashPoints) -> None:
        hang.wait()
        replace_file(path, content, crash)

    view = ModeView(Mode.RUN, False, False)
    try:
        async with open_state_keeper(
            tmp_path, open_thread_worker, CrashPoints(), rows, hanging, patience_s=0.05
        ) as keeper:
            for _ in range(3):
                with pytest.raises(OSError, match="does not answer"):
                    await keeper.save(view, None)
                assert keeper.failed == f"{FILE_NAME}: the disk does not answer"
            assert keeper.generation == 1
            hang.set()
            while keeper.failed is not None:
                await trio.sleep(0.01)
                with suppress(OSError):
                    await keeper.save(view, None)
    finally:
        hang.set()
    assert load_state(tmp_path) is not None


async def test_a_disk_that_fails_is_told_and_nothing_counts_as_saved(tmp_path: Path, rows: Rows) -> None:
    (tmp_path / (FILE_NAME + ".tmp")).mkdir()
    async with open_state_keeper(tmp_path, open_inline_worker, CrashPoints(), rows) as keeper:
        with pytest.raises(OSError, match="directory"):
            await keeper.save(HELD.view, None)
    assert rows.kinds == []
