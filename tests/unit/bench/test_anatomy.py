"""A tick's journey out of stamps, and a ranking out of collapsed stacks."""

from __future__ import annotations

from tests.bench.anatomy import journey, rank


def us(*stamps: tuple[str, int]) -> list[tuple[str, int]]:
    return [(name, at * 1000) for name, at in stamps]


def test_each_station_counts_from_the_one_before_it() -> None:
    stamps = us(("bytes", 100), ("feed", 150), ("decide", 200), ("committed", 900), ("sent", 1000), ("feed", 5000))
    found = {name: took for name, took, _ in journey(stamps, [(0, 1_200_000)])}
    assert found == {"bytes": 100, "feed": 50, "decide": 50, "committed": 700, "sent": 100, "order": 200}


def test_of_a_burst_the_last_tick_before_the_decision_counts_and_the_worker_by_its_own_job() -> None:
    stamps = us(
        ("worker", 5), ("bytes", 10), ("feed", 20), ("feed", 90), ("decide", 100), ("feed", 110), ("commit", 120),
        ("durable", 300), ("worker", 310), ("durable", 500), ("committed", 520), ("worker", 530),
    )
    found = {name: took for name, took, _ in journey(stamps, [(0, 600_000)])}
    assert found == {
        "bytes": 10, "feed": 80, "decide": 10, "commit": 20, "worker": 190, "durable": 190, "committed": 20,
        "order": 80,
    }


def test_stacks_are_ranked_by_where_they_ran_and_of_the_main_thread_alone() -> None:
    take, put = "_take (/x/propbot/feeds/public.py:90)", "Ladder.put (/x/propbot/books/ladder.py:45)"
    ranking = rank("\n".join([
        f"thread (1): MainThread;{take};{put} 3", f"thread (1): MainThread;{take} 2",
        f"thread (1): MainThread;{take};parse (/lib/wsproto/frame_protocol.py:7);__init__ (<string>:2) 1",
        "thread (2): ledger;_loop (/x/propbot/kit/threads.py:90) 50",
    ]))
    assert ranking.by_room == {"books": 3, "feeds": 2, "wsproto": 1}
    assert ranking.by_function["Ladder.put (books/ladder.py)"] == 3
    assert ranking.within["_take (feeds/public.py)"] == 6
