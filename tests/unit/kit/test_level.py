"""The level: the last value is never missed, values in between may be."""

from __future__ import annotations

import trio
import trio.testing

from propbot.kit.level import Level


async def test_a_wait_for_what_holds_already_returns_at_once() -> None:
    level = Level(3)
    assert await level.wait(lambda value: value == 3) == 3


async def test_a_waiter_gets_the_last_of_several_assignments(autojump_clock: trio.testing.MockClock) -> None:
    level = Level(0)
    seen: list[int] = []

    async def watch() -> None:
        seen.append(await level.wait(lambda value: value > 0))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        await trio.testing.wait_all_tasks_blocked()
        level.value = 1
        level.value = 2
    assert seen == [2]


async def test_a_value_that_was_overwritten_before_anyone_looked_wakes_nobody_for_good(
    autojump_clock: trio.testing.MockClock,
) -> None:
    level = Level(0)
    with trio.move_on_after(1) as scope:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def watch() -> None:
                await level.wait(lambda value: value == 1)

            await trio.testing.wait_all_tasks_blocked()
            level.value = 1
            level.value = 0
    assert scope.cancelled_caught


async def test_every_waiter_wakes_on_a_touch_and_on_an_assignment_of_the_same_value(
    autojump_clock: trio.testing.MockClock,
) -> None:
    level = Level([1])
    woken: list[str] = []

    async def watch(name: str) -> None:
        await level.wait_change()
        woken.append(name)

    for change in (level.touch, lambda: setattr(level, "value", level.value)):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, "a")
            nursery.start_soon(watch, "b")
            await trio.testing.wait_all_tasks_blocked()
            change()
    assert sorted(woken) == ["a", "a", "b", "b"]


async def test_wait_change_is_not_content_with_a_change_of_before() -> None:
    level = Level(0)
    level.value = 1
    with trio.move_on_after(0):
        await level.wait_change()
        raise AssertionError("nothing changed")
