"""Virtual time repeats itself, and leaves Trio as it was."""

from __future__ import annotations

import trio
import trio._core._run as trio_run

from propbot.kit.virtual import jumping_clock, repeatable_scheduling


async def _race() -> list[int]:
    order: list[int] = []

    async def step(number: int) -> None:
        for _ in range(3):
            await trio.lowlevel.checkpoint()
            order.append(number)
        await trio.sleep(3600)
        order.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(step, number)
    return order


def _run(seed: int) -> list[int]:
    with repeatable_scheduling(seed):
        return trio.run(_race, clock=jumping_clock())


def test_the_same_seed_gives_the_same_order_and_another_one_another() -> None:
    first = _run(1)
    assert _run(1) == first
    assert any(_run(seed) != first for seed in range(2, 8))


def test_trio_is_left_as_it_was() -> None:
    before, state = trio_run._ALLOW_DETERMINISTIC_SCHEDULING, trio_run._r.getstate()
    with repeatable_scheduling():
        assert trio_run._ALLOW_DETERMINISTIC_SCHEDULING
        trio_run._r.random()
    assert before == trio_run._ALLOW_DETERMINISTIC_SCHEDULING
    assert trio_run._r.getstate() == state
