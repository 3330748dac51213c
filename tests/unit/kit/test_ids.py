"""Ids: legal on every venue, ours by their prefix, and unique even when the clock is not."""

from __future__ import annotations

import random
import re

from attrs import define
from hypothesis import given
from hypothesis import strategies as st

from propbot.kit.ids import ORDER_PREFIX, Ids, is_ours


@define
class Still:
    """A clock that stands where it was put."""

    wall: int

    def wall_ns(self) -> int:
        return self.wall

    def mono_s(self) -> float:
        return 0.0


@given(st.integers(min_value=0, max_value=2**63 - 1), st.integers())
def test_a_client_order_id_is_legal_on_every_venue_and_ours(wall_ns: int, seed: int) -> None:
    client_order_id = Ids(Still(wall_ns), random.Random(seed)).client_order_id()
    assert re.fullmatch(r"[a-z0-9]{13,32}", client_order_id)
    assert is_ours(client_order_id)


def test_a_standing_clock_and_a_repeating_generator_make_no_id_twice() -> None:
    class Stuck(random.Random):
        def getrandbits(self, k: int, /) -> int:
            return 0

    ids = Ids(Still(10**18), Stuck())
    made = [ids.client_order_id() for _ in range(40_000)]
    assert len(set(made)) == len(made)


def test_two_lives_that_see_the_same_moment_differ_by_chance_alone() -> None:
    first, second = (Ids(Still(10**18), random.Random(seed)) for seed in (1, 2))
    assert not {first.client_order_id() for _ in range(1000)} & {second.client_order_id() for _ in range(1000)}


def test_a_simulation_repeats_its_ids() -> None:
    first, second = (Ids(Still(10**18), random.Random(1)) for _ in range(2))
    assert [first.name("lot") for _ in range(3)] == [second.name("lot") for _ in range(3)]


def test_ids_of_a_later_time_are_other_ids_and_names_say_what_they_name() -> None:
    clock = Still(10**18)
    ids = Ids(clock, random.Random(1))
    early = ids.name("intent")
    clock.wall += 1000
    late = ids.name("intent")
    assert early.startswith("intent-")
    assert early < late


def test_foreign_ids_are_not_ours() -> None:
    assert ORDER_PREFIX == "pb"
    assert not is_ours("web_a1b2")
    assert not is_ours("")
