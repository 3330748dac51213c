"""`events --follow`: each event once and in order, whatever happens to the connection."""

from __future__ import annotations

import json
from contextlib import contextmanager

import pytest

from propbotctl.failures import NotNow, NotThere, Unauthorised, Unreachable
from propbotctl.follow import Follower, read_events, split_lines
from tests.unit.ctl.conftest import SINCE


class Journal:
    """The service as the follower sees it: a journal, and a stream that a script plays. `script` holds a connection
    each: a Failure to raise, or chunks, where an int is an event that happens then and is told, and a negative one
    happens and is not told."""

    def __init__(self, *script):
        self.script = list(script)
        self.rows = []
        self.seen_ids = []

    def happen(self, id):
        about = {"ts": SINCE, "symbol": "", "source": "", "message": ""}
        self.rows.append({"id": id, "kind": "hold" if id % 2 else "fill", "venue": "", "level": "INFO", **about})
        return self.rows[-1]

    def get(self, path, params):
        return self.call("GET", path, params=params)[1]

    def call(self, method, path, params, **_):
        below = int(params.get("cursor", 1_000_000))
        wanted = {name: value for name, value in params.items() if name in ("kind", "level")}
        found = [
            row for row in reversed(self.rows)
            if row["id"] < below and all(row[name] == value for name, value in wanted.items())
        ]
        limit = int(params["limit"])
        return 200, {"items": found[:limit], "next_cursor": str(found[limit - 1]["id"]) if len(found) > limit else None}

    @contextmanager
    def open_stream(self, path, more_headers, timeout_s):
        assert path == "/api/ui/stream"
        self.seen_ids.append(more_headers.get("Last-Event-ID"))
        turn = self.script.pop(0)
        if isinstance(turn, Exception):
            raise turn
        yield self.play(turn)

    def play(self, turn):
        for step in turn:
            if isinstance(step, Exception):
                raise step
            if isinstance(step, bytes):
                yield step
            elif step < 0:
                self.happen(-step)
            else:
                yield f"event: event\nid: s{step}\ndata: {json.dumps(self.happen(step))}\n\n".encode()


class Enough(Exception):
    """Ends the follower where a person would press Ctrl-C."""


def follow(journal, first=0, wanted=None):
    told, pauses = [], []
    follower = Follower(journal, wanted or {}, lambda event: told.append(event["id"]), sleep=pauses.append)
    follower.begin(first)
    with pytest.raises(Enough):
        follower.run()
    return told, pauses


def test_what_happens_is_told_as_it_happens_after_the_newest_few():
    journal = Journal([3, b": heartbeat\n\n", 4, Enough()])
    journal.happen(1)
    journal.happen(2)
    assert follow(journal, first=1)[0] == [2, 3, 4]


def test_nothing_is_lost_between_two_connections_and_nothing_told_twice():
    told, pauses = follow(Journal([1, 2], Unreachable("gone"), [-3, -4, 5, Enough()]))
    assert told == [1, 2, 3, 4, 5]
    assert len(pauses) == 2


def test_events_between_the_list_and_the_stream_are_told():
    journal = Journal([2, Enough()])
    journal.happen(1)
    follower_told, _ = follow(journal)
    assert follower_told == [2]


def test_a_stream_that_leaves_events_out_is_made_up_for_by_the_list():
    assert follow(Journal([1, -2, -3, 4, Enough()]))[0] == [1, 2, 3, 4]


def test_a_reconnect_says_what_it_saw_last_and_waits_longer_each_time_until_it_hears_something():
    journal = Journal([7], *[Unreachable("gone")] * 3, [8], Unreachable("gone"), Enough())
    _, pauses = follow(journal)
    assert journal.seen_ids == [None, "s7", "s7", "s7", "s7", "s8", "s8"]
    assert pauses == [0.5, 1, 2, 5, 0.5, 1]


def test_what_may_pass_is_tried_again_and_what_can_not_is_raised():
    assert follow(Journal(NotNow("too many streams"), [1, Enough()]))[0] == [1]
    follower = Follower(Journal(Unauthorised("token revoked")), {}, print)
    with pytest.raises(Unauthorised):
        follower.run()


def test_only_what_is_wanted_is_told():
    journal = Journal([1, 2, -3, -4, 5, Enough()])
    assert follow(journal, wanted={"kind": "hold"})[0] == [1, 3, 5]
    older = Journal([Enough()])
    for id in (1, 2, 3, 4):
        older.happen(id)
    assert follow(older, first=2, wanted={"kind": "fill"})[0] == [2, 4]


def test_other_kinds_of_the_stream_are_no_events():
    overview = b'event: overview\ndata: {"overall": "OK"}\n\n'
    assert follow(Journal([overview, 1, Enough()]))[0] == [1]


def test_a_service_without_a_stream_is_asked_every_second():
    journal = Journal(NotThere("nothing here"))
    told, pauses = [], []

    def sleep(seconds):
        pauses.append(seconds)
        if len(pauses) == 3:
            raise Enough
        journal.happen(len(pauses))

    follower = Follower(journal, {}, lambda event: told.append(event["id"]), sleep=sleep)
    follower.begin(0)
    with pytest.raises(Enough):
        follower.run()
    assert (told, pauses) == ([1, 2], [1.0, 1.0, 1.0])


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_a_stream_is_read_however_it_is_cut(size):
    raw = ': hello\r\nevent: fill\nid: 9\ndata: {"a":\ndata: "№"}\n\nid: 10\n\ndata: x\n\ndata: never ended'.encode()
    chunks = [raw[at : at + size] for at in range(0, len(raw), size)]
    found = [(each.kind, each.data, each.id) for each in read_events(split_lines(chunks))]
    assert found == [("fill", '{"a":\n"№"}', "9"), ("message", "x", "10")]


def test_the_command_goes_on_over_the_fake_api_and_refuses_what_has_no_sense(run, api):
    for args in (("--until", "2026-11-23"), ("--cursor", "5")):
        result = run("events", "--follow", *args)
        assert result.exit_code == 2
        assert "goes on for ever" in result.stderr
    api.answers["/api/ui/stream"] = (401, {"error": {"code": "unauthorised", "message": "a token is needed"}})
    result = run("events", "-f", "--limit", "1")
    assert result.exit_code == 4
    assert result.stdout.startswith("11-23 03:12:09Z WARN feed_stale binance-um: no frame for 1.6 s")
    line = run("events", "-f", "--limit", "1", "--json").stdout
    assert json.loads(line)["id"] == 12
