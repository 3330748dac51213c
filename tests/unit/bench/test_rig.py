"""The rig's arithmetic, and what it reads of a process."""

from __future__ import annotations

import json

import pytest

from tests.bench.goals import FLOORS, GOALS, Goal, floor_of, table
from tests.bench.rig import Metric, interleaved, median_of_rounds, metrics_of, parse_rss_mb, percentile


def test_percentiles_are_values_that_occurred() -> None:
    values = [5.0, 1.0, 4.0, 2.0, 3.0]
    assert [percentile(values, share) for share in (0.0, 0.2, 0.5, 0.99, 1.0)] == [1, 1, 3, 5, 5]
    assert percentile(list(range(1, 201)), 0.99) == 198


def test_a_percentile_of_nothing_or_beyond_all_is_an_error() -> None:
    with pytest.raises(ValueError):
        percentile([], 0.5)
    with pytest.raises(ValueError):
        percentile([1.0], 1.5)


def test_one_disturbed_round_does_not_move_the_median() -> None:
    assert median_of_rounds([[1.0, 2.0, 3.0], [2.0, 2.0, 2.0], [900.0, 900.0, 900.0]], 0.5) == 2.0


def test_figures_of_rounds_count_every_sample() -> None:
    p10, p50, p99 = metrics_of("x", [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]])
    assert (p10.metric, p10.value, p10.n) == ("x.p10", 4.0, 9)
    assert (p50.metric, p50.value, p50.n) == ("x.p50", 5.0, 9)
    assert (p99.metric, p99.value, p99.n) == ("x.p99", 9.0, 9)


def test_every_variant_runs_once_a_round_and_begins_a_round_in_turn() -> None:
    seen: list[str] = []

    def noting(name: str) -> int:
        seen.append(name)
        return len(seen)

    found = interleaved(3, {name: lambda name=name: noting(name) for name in "abc"})
    assert "".join(seen) == "abcbcacab"
    assert found == {"a": [1, 6, 8], "b": [2, 4, 9], "c": [3, 5, 7]}


def test_a_metric_is_one_json_line_without_its_goal() -> None:
    line = Metric("tick_to_order.full.one.first.p50", 1234.5678, "us", 200).line()
    assert json.loads(line) == {"metric": "tick_to_order.full.one.first.p50", "value": 1234.6, "unit": "us", "n": 200}
    assert json.loads(Metric("start.first_order", 0.75284, "s", 4).line())["value"] == 0.7528


def test_resident_memory_is_read_from_a_status() -> None:
    assert parse_rss_mb("Name:\tpython\nVmHWM:\t  9999 kB\nVmRSS:\t  75776 kB\nThreads:\t3\n") == 74.0
    with pytest.raises(ValueError):
        parse_rss_mb("Name:\tkthread\n")


def test_a_figure_finds_its_floor_of_the_same_kind() -> None:
    found = {name: Metric(name, 1.0, "us", 1) for name in ("floor.minimal_client.one.first.p50", "floor.other")}
    floor = floor_of("tick_to_order.full.one.first.p50", found)
    assert floor is not None
    assert floor.metric == "floor.minimal_client.one.first.p50"
    assert floor_of("tick_to_order.full.burst_last.first.p50", found) is None
    assert floor_of("start.first_order", found) is None


def test_the_table_shows_goals_and_multiples() -> None:
    shown = table([
        Metric("ingest.tls.cpu_us_per_frame", 50.0, "us", 10),
        Metric("floor.bare_frames.tls.cpu_us_per_frame", 2.0, "us", 10),
    ])
    assert "< 20, missed" in shown
    assert shown.splitlines()[1].endswith("25.00")


def test_goals_know_their_direction() -> None:
    assert Goal(5).met(4.9)
    assert not Goal(5).met(5)
    assert Goal(5, at_least=True).met(5)
    assert not set(GOALS) & set(FLOORS)
