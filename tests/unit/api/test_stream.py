"""The event stream: what it sends and when, that nothing is lost or repeated, how many there may be, how one ends."""

from __future__ import annotations

import hashlib
from contextlib import AsyncExitStack

import pytest
import trio
import trio.testing

from propbot.api.app import make_api
from propbot.api.auth import Auth
from propbot.api.bodies import STREAM_TYPES
from propbot.api.stream import BEGIN_S_MAX, NEWS_MAX, SEND_S_MAX, STREAMS_MAX
from propbot.control.operators import Operator, Operators, Role
from propbot.domain.mode import Cause, HoldRecord, Mode
from tests.unit.api.conftest import NOW_NS, TOKEN, make_spread
from tests.unit.api.streams import open_stream


@pytest.fixture
def closing():
    return trio.Event()


@pytest.fixture
def app(desk, closing):
    return make_api(desk, auth=Auth(Operators.of(TOKEN)), closing=closing)


def ids(client):
    return [each["data"]["id"] for each in client.messages("event")]


def trades(client):
    return [each["data"]["trade_id"] for each in client.messages("fill")]


async def test_it_begins_with_how_things_are(app, client, autojump_clock):
    async with open_stream(app) as stream:
        await stream.wait(lambda it: it.messages("spread"))
        assert (stream.status, stream.headers["content-type"]) == (200, "text/event-stream")
        assert [each["event"] for each in stream.messages()] == ["overview", "incident", "spread"]
        overview, incident, spread = (each["data"] for each in stream.messages())
        assert overview == (await client.get("/api/ui/status/overview")).json()
        assert [incident] == (await client.get("/api/ui/incidents")).json()["items"]
        assert spread == (await client.get("/api/ui/spreads")).json()["items"][0]
        assert stream.last_id.startswith("3-1-"), "known from the first byte on, so that nothing is lost after it"


async def test_events_and_fills_are_the_items_of_their_lists_each_with_its_place(app, desk, client, autojump_clock):
    async with open_stream(app, "/api/ui/stream?types=event,fill") as stream:
        await stream.wait(lambda it: it.status)
        desk.happen(fills=2)
        await stream.wait(lambda it: len(it.messages()) == 3, within_s=1)
        event, *fills = stream.messages()
    shown = (await client.get("/api/ui/events", params={"limit": 1})).json()["items"][0]
    assert event["data"] == {**shown, "id": 4}
    shown = (await client.get("/api/ui/fills", params={"limit": 2})).json()["items"]
    assert [each["data"] for each in fills] == [{**shown[0], "trade_id": "2"}, {**shown[0], "trade_id": "3"}]
    places = [each["id"].split("-")[:2] for each in (event, *fills)]
    assert places == [["4", "1"], ["4", "2"], ["4", "3"]]


@pytest.mark.parametrize("cut_after", range(1, 10))
async def test_who_comes_back_goes_on_where_they_were(app, desk, autojump_clock, cut_after, monkeypatch):
    """Cut after each message in turn, in the middle of a piece too."""
    monkeypatch.setattr("propbot.api.stream.NEWS_MAX", 2)
    path = "/api/ui/stream?types=event,fill"
    async with open_stream(app, path) as first:
        await first.wait(lambda it: it.status)
        for _ in range(5):
            desk.happen(fills=1)
        await first.wait(lambda it: len(it.messages()) == 10)
    seen = first.messages()[:cut_after]
    desk.happen(fills=1)
    async with open_stream(app, path, last_id=seen[-1]["id"]) as second:
        await second.wait(lambda it: len(it.messages()) == 12 - cut_after)
        await trio.sleep(2)
    everything = [*seen, *second.messages()]
    assert [each["data"]["id"] for each in everything if each["event"] == "event"] == [4, 5, 6, 7, 8, 9]
    assert [each["data"]["trade_id"] for each in everything if each["event"] == "fill"] == list("234567")


@pytest.mark.parametrize("behind", [1, NEWS_MAX - 1, NEWS_MAX, NEWS_MAX + 1, 3 * NEWS_MAX])
async def test_however_far_behind_it_catches_up_in_order(app, desk, autojump_clock, behind):
    last_id = None
    async with open_stream(app) as first:
        await first.wait(lambda it: it.messages())
        last_id = first.last_id
    for _ in range(behind):
        desk.happen(fills=1)
    async with open_stream(app, "/api/ui/stream?types=fill", last_id=last_id) as fills:
        await fills.wait(lambda it: len(it.messages()) == behind, within_s=0.2)
        assert trades(fills) == [str(number) for number in range(2, behind + 2)]
    async with open_stream(app, "/api/ui/stream?types=event", last_id=last_id) as events:
        await events.wait(lambda it: len(it.messages()) == behind, within_s=0.2)
        assert ids(events) == list(range(4, behind + 4))


@pytest.mark.parametrize(
    "last_id", ["", "x", "3", "3-1", "4-1-" + "0" * 16, "3-2-" + "0" * 16, "3-1-" + "f" * 16, "9" * 40, "3-1-ж"]
)
async def test_an_id_of_another_ledger_is_refused(app, autojump_clock, last_id):
    async with open_stream(app, last_id=last_id) as stream:
        await stream.wait(lambda it: it.ended.is_set())
    assert stream.status == 422
    assert "Last-Event-ID" in stream.text


async def test_a_hold_shows_at_once_and_an_overview_every_few_seconds(app, desk, autojump_clock):
    async with open_stream(app, "/api/ui/stream?types=overview") as stream:
        await stream.wait(lambda it: it.messages())
        desk.now_mode, desk.record = Mode.HOLD, HoldRecord((Cause("look", "operator:ann", NOW_NS),))
        await stream.wait(lambda it: len(it.messages()) == 2, within_s=0.3)
        assert stream.messages()[-1]["data"]["hold"]["line"].startswith("HOLD since")
        await trio.sleep(10.4)
        assert len(stream.messages()) == 4


async def test_an_incident_comes_with_each_of_its_steps(app, desk, autojump_clock):
    async with open_stream(app, "/api/ui/stream?types=incident") as stream:
        await stream.wait(lambda it: it.messages())
        incident = desk.incidents.open("P0", "crash", "task:x", "it ended")
        await trio.sleep(1)
        desk.incidents.acknowledge(incident.id, "ann", "seen")
        await trio.sleep(1)
        desk.incidents.resolve(incident.id, "gone")
        await trio.sleep(1)
        told = [each["data"] for each in stream.messages()[1:]]
    assert [len(each["timeline"]) for each in told] == [1, 2, 3]
    assert (told[1]["acknowledged_by"], told[2]["resolved_at"] is not None) == ("ann", True)


async def test_who_comes_back_hears_of_incidents_that_ended_meanwhile(app, desk, autojump_clock):
    async with open_stream(app, "/api/ui/stream?types=incident") as first:
        await first.wait(lambda it: it.messages())
    desk.incidents.resolve(1, "gone")
    async with open_stream(app, "/api/ui/stream?types=incident", last_id=first.last_id) as again:
        await again.wait(lambda it: it.messages())
        assert again.messages()[0]["data"]["resolved_at"] is not None
    async with open_stream(app, "/api/ui/stream?types=incident") as new:
        await trio.sleep(1)
        assert new.messages() == []


async def test_a_spread_comes_once_for_each_point(app, desk, autojump_clock):
    async with open_stream(app, "/api/ui/stream?types=spread") as stream:
        await stream.wait(lambda it: it.messages())
        for number in range(26, 29):
            desk.spreads.note(float(number), NOW_NS, make_spread(number))
            await trio.sleep(1)
        assert len(stream.messages()) == 4


async def test_a_heartbeat_every_fifteen_seconds_and_nothing_else_when_nothing_happens(app, autojump_clock):
    async with open_stream(app, "/api/ui/stream?types=event") as stream:
        await stream.wait(lambda it: it.status)
        await trio.sleep(46)
        assert stream.text.count(": heartbeat\n\n") == 3
        assert stream.messages() == []


@pytest.mark.parametrize("types", ["", "events", "event,x", "event,"])
async def test_types_that_there_are_not_are_named(client, types):
    answer = await client.get("/api/ui/stream", params={"types": types})
    assert answer.status_code == 422
    assert ",".join(STREAM_TYPES) in answer.json()["error"]["message"]


async def test_it_needs_a_token(nobody):
    assert (await nobody.get("/api/ui/stream")).status_code == 401


async def test_head_opens_no_stream(client):
    assert (await client.head("/api/ui/stream")).status_code == 200


# --- how many


async def test_ten_are_open_the_eleventh_is_told_so_and_a_place_is_free_once_one_has_gone(app, desk, autojump_clock):
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(open_stream(app)) for _ in range(STREAMS_MAX)]
        for stream in streams:
            await stream.wait(lambda it: it.messages())
        async with open_stream(app) as eleventh:
            await eleventh.wait(lambda it: it.ended.is_set())
        assert eleventh.status == 429
        assert "10 event streams are open already" in eleventh.text
        assert eleventh.headers["retry-after"] == "5"
        streams[3].gone.set()
        await trio.testing.wait_all_tasks_blocked()
        async with open_stream(app) as next_one:
            await next_one.wait(lambda it: it.messages())
        assert next_one.status == 200


async def test_clients_that_go_away_before_the_first_byte_keep_no_place(app, monkeypatch, autojump_clock):
    async def left(self, piece):
        self.gone.set()
        await trio.sleep_forever()

    for _ in range(STREAMS_MAX):
        with monkeypatch.context() as patched:
            patched.setattr("tests.unit.api.streams.Client.send", left)
            async with open_stream(app):
                pass
    await trio.sleep(BEGIN_S_MAX + 0.1)
    async with open_stream(app) as stream:
        await stream.wait(lambda it: it.messages())
    assert stream.status == 200


# --- how it ends


async def test_it_ends_by_itself_when_the_service_stops(app, closing, autojump_clock):
    async with open_stream(app) as stream:
        await stream.wait(lambda it: it.messages())
        closing.set()
        await stream.wait(lambda it: it.ended.is_set(), within_s=0.01)
        assert stream.text.endswith("\n\n")


async def test_a_token_that_leaves_the_list_ends_its_streams_and_no_others(desk, autojump_clock):
    people = [
        Operator(name, Role.VIEWER, hashlib.sha256(name.encode() * 20).digest()) for name in ("ann", "bob")
    ]
    known = Operators.of(None, people)
    app = make_api(desk, auth=Auth(known))
    async with open_stream(app, token="ann" * 20) as ann, open_stream(app, token="bob" * 20) as bob:
        for stream in (ann, bob):
            await stream.wait(lambda it: it.messages())
        known.replace(people[1:])
        desk.happen()
        await ann.wait(lambda it: it.ended.is_set(), within_s=1.3)
        seen = len(ann.text)
        desk.happen()
        await trio.sleep(6)
        assert len(ann.text) == seen
        assert not bob.ended.is_set()
        assert ids(bob) == [4, 5]


async def test_who_does_not_read_is_cut_and_nothing_is_kept_for_them(app, desk, autojump_clock):
    async with open_stream(app) as slow, open_stream(app) as quick:
        for stream in (slow, quick):
            await stream.wait(lambda it: it.messages())
        slow.reads = False
        for _ in range(5 * NEWS_MAX):
            desk.happen()
        await trio.sleep(SEND_S_MAX + 1)
        assert len(ids(quick)) == 5 * NEWS_MAX
        slow.reads = True
        await slow.wait(lambda it: it.ended.is_set())
        assert len(ids(slow)) <= NEWS_MAX, "one piece was under way, and no other was made"


async def test_a_ledger_that_hangs_keeps_no_overview_back_and_loses_nothing(app, desk, autojump_clock):
    async with open_stream(app) as stream:
        await stream.wait(lambda it: it.messages("overview"))
        desk.ledger_hangs = True
        desk.happen(fills=1)
        desk.now_mode = Mode.HOLD
        await stream.wait(lambda it: it.messages("overview")[-1]["data"]["mode"] == "HOLD", within_s=3)
        await trio.sleep(5)
        desk.ledger_hangs, desk.ledger_error = False, "disk I/O error"
        await trio.sleep(5)
        desk.ledger_error = None
        await stream.wait(lambda it: trades(it) == ["2"], within_s=3)
        assert ids(stream) == [4]


async def test_without_a_ledger_none_is_opened(client, desk, autojump_clock):
    desk.ledger_error = "disk I/O error"
    assert (await client.get("/api/ui/stream")).status_code == 503
