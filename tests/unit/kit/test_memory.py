"""The in-memory stream: Trio's own contract for streams, and the two manners that it exists for."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from propbot.kit.memory import memory_stream_pair


async def test_it_keeps_the_contract_of_a_trio_stream() -> None:
    async def make() -> tuple[trio.abc.Stream, trio.abc.Stream]:
        return memory_stream_pair()

    left, right = await make()
    await left.send_all(b"ab")
    await left.send_all(b"c")
    assert await right.receive_some(2) == b"ab"
    assert await right.receive_some() == b"c"
    with pytest.raises(ValueError, match="max_bytes"):
        await right.receive_some(0)
    await left.aclose()
    assert await right.receive_some() == b""
    with pytest.raises(trio.BrokenResourceError):
        await right.send_all(b"x")
    with pytest.raises(trio.ClosedResourceError):
        await left.send_all(b"x")
    with pytest.raises(trio.ClosedResourceError):
        await left.receive_some()


async def test_what_was_sent_before_the_close_still_arrives() -> None:
    left, right = memory_stream_pair()
    await left.send_all(b"last words")
    await left.aclose()
    assert await right.receive_some() == b"last words"
    assert await right.receive_some() == b""


async def test_a_receiver_that_waits_is_woken_by_bytes_and_by_either_close(nursery: trio.Nursery) -> None:
    left, right = memory_stream_pair()
    heard: list[object] = []

    async def listen(stream: trio.abc.Stream) -> None:
        try:
            heard.append(await stream.receive_some())
        except trio.ClosedResourceError as error:
            heard.append(type(error))

    nursery.start_soon(listen, right)
    await trio.testing.wait_all_tasks_blocked()
    await left.send_all(b"x")
    await trio.testing.wait_all_tasks_blocked()
    nursery.start_soon(listen, right)
    nursery.start_soon(listen, left)
    await trio.testing.wait_all_tasks_blocked()
    await left.aclose()
    await trio.testing.wait_all_tasks_blocked()
    assert heard[0] == b"x"
    assert set(heard[1:]) == {b"", trio.ClosedResourceError}


async def test_a_cancelled_send_put_nothing_and_a_put_is_not_cancelled() -> None:
    left, right = memory_stream_pair()
    with trio.CancelScope() as scope:
        scope.cancel()
        await left.send_all(b"never")
    assert scope.cancelled_caught
    assert not right.readable
    with trio.move_on_after(5) as scope:
        await left.send_all(b"now")
        scope.cancel()
    assert right.readable


async def test_an_end_can_be_asked_without_waiting() -> None:
    left, right = memory_stream_pair()
    assert not right.readable
    await left.aclose()
    assert right.readable
