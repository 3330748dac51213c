"""The export: what the file holds, what a bad question is told, and that half a file never passes for a whole one."""

from __future__ import annotations

import csv
import io
import json

import httpx
import pytest
import trio
from attrs import evolve

from propbot.api import rows
from propbot.api.export import COLUMNS, SLICE_ROWS, ExportBody, write_csv
from propbot.api.long_answers import CutShort
from propbot.api.query import read_export
from tests.unit.api.conftest import NOW_NS, TOKEN, make_event
from tests.unit.api.test_server import open_serving

PATH = "/api/ui/events/export"


def read_csv(text):
    return list(csv.reader(io.StringIO(text, newline="")))


async def test_without_a_format_it_is_csv_with_the_columns_of_the_contract(client):
    answer = await client.get(PATH)
    assert answer.headers["Content-Type"].startswith("text/csv; charset=utf-8")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="propbot-events-20261123T031209Z.csv"'
    table = read_csv(answer.text)
    assert answer.text.startswith("id,ts,level,kind,venue,symbol,source,message,details\r\n")
    assert table[1] == [
        "3", "2026-11-23T03:12:09.123Z", "WARN", "feed", "binance-um", "", "", "book stale", '{"age_s":"1.6"}'
    ]
    assert len(table) == 4
    assert answer.text.endswith("\r\n")


async def test_json_is_a_bare_array_of_the_lists_items(client):
    answer = await client.get(PATH, params={"format": "json"})
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Content-Disposition"].endswith('.json"')
    assert answer.json() == (await client.get("/api/ui/events")).json()["items"]


@pytest.mark.parametrize("name", ["csv", "json"])
async def test_nothing_found_is_a_whole_and_empty_file(client, desk, name):
    answer = await client.get(PATH, params={"format": name, "cursor": "3"})
    assert answer.status_code == 200
    assert json.loads(answer.text) == [] if name == "json" else read_csv(answer.text) == [list(COLUMNS)]


@pytest.mark.parametrize("limit", [1, 2, 3, 100_000])
@pytest.mark.parametrize("slice_rows", [1, 2, SLICE_ROWS])
async def test_slices_make_one_file_of_the_newest_rows(client, monkeypatch, limit, slice_rows):
    monkeypatch.setattr("propbot.api.export.SLICE_ROWS", slice_rows)
    wanted = [3, 2, 1][:limit]
    array = (await client.get(PATH, params={"format": "json", "limit": limit})).json()
    table = read_csv((await client.get(PATH, params={"limit": limit})).text)
    assert [item["id"] for item in array] == wanted
    assert [row[0] for row in table[1:]] == [str(id) for id in wanted]


async def test_the_filters_are_those_of_the_list(client, desk):
    await client.get(f"{PATH}?kind=feed&level=WARN&venue=binance-um&symbol=BTCUSDT&since=2026-11-22&until=2026-11-23")
    exported = desk.asked_events
    await client.get("/api/ui/events?kind=feed&level=WARN&venue=binance-um&symbol=BTCUSDT&since=2026-11-22"
                     "&until=2026-11-23")
    assert desk.asked_events == exported
    assert exported.since_ns is not None


@pytest.mark.parametrize(
    ("field", "value"),
    [("limit", "0"), ("limit", "100001"), ("limit", "ten"), ("format", "xml"), ("format", ""), ("since", "soon"),
     ("cursor", "x"), ("level", "x" * 101)],
)
async def test_a_bad_question_is_a_422_that_names_the_field(client, field, value):
    answer = await client.get(PATH, params={field: value})
    assert answer.status_code == 422
    assert list(answer.json()["error"]["fields"]) == [field]


@pytest.mark.parametrize("start", ["=1+1", "+1", "-1", "@x", "\tx", "\rx"])
def test_no_text_is_a_formula_and_numbers_stay_numbers(start):
    event = evolve(make_event(7), message=start, source=start, kind=start, venue=start, symbol=start, level=start)
    ((id, ts, *texts, details),) = read_csv(write_csv([event], False, True))
    assert (id, ts) == ("7", "2026-11-23T03:12:09.123Z")
    assert texts == ["'" + start] * 6
    assert details == '{"age_s":"1.6"}'


@pytest.mark.parametrize("text", ['say "no"', "a,b", "two\nlines", "two\r\nlines", "«ж» 😀", " = 1", "'=1", "1-2"])
def test_any_other_text_comes_back_as_it_was(text):
    written = write_csv([evolve(make_event(1), message=text, details={"t": text})], True, True)
    row = dict(zip(*read_csv(written), strict=True))
    assert row["message"] == text
    assert json.loads(row["details"]) == {"t": text}


async def test_head_says_the_same_and_sends_nothing(client):
    answer = await client.head(PATH)
    assert (answer.status_code, answer.content) == (200, b"")
    assert "attachment" in answer.headers["Content-Disposition"]


async def test_it_needs_a_token(nobody):
    assert (await nobody.get(PATH)).status_code == 401


async def test_a_ledger_that_fails_or_hangs_at_once_is_a_503(client, desk, autojump_clock):
    desk.ledger_error = "disk I/O error"
    assert (await client.get(PATH)).status_code == 503
    desk.ledger_error, desk.ledger_hangs = None, True
    assert (await client.get(PATH)).status_code == 503


def make_body(desk, closing=None):
    return ExportBody(desk, read_export({}), trio.Event() if closing is None else closing)


@pytest.mark.parametrize("problem", [{"ledger_error": "disk I/O error"}, {"ledger_hangs": True}])
async def test_a_ledger_that_fails_in_the_middle_cuts_it(desk, monkeypatch, problem, autojump_clock):
    monkeypatch.setattr("propbot.api.export.SLICE_ROWS", 1)
    body = make_body(desk)
    await body.read_slice()
    assert await body.make_piece()
    for name, value in problem.items():
        setattr(desk, name, value)
    with pytest.raises(CutShort, match="could not be read to its end"):
        await body.make_piece()


async def test_a_service_that_stops_cuts_it(desk, monkeypatch):
    monkeypatch.setattr("propbot.api.export.SLICE_ROWS", 1)
    closing = trio.Event()
    body = make_body(desk, closing)
    await body.read_slice()
    assert await body.make_piece()
    closing.set()
    with pytest.raises(CutShort, match="stops"):
        await body.make_piece()


async def test_a_client_sees_that_a_file_was_cut_and_others_notice_nothing(app, desk, monkeypatch):
    """Over a real socket: without the last chunk the answer is incomplete for every HTTP client."""
    monkeypatch.setattr("propbot.api.export.SLICE_ROWS", 1)
    whole = desk.events

    async def events(limit, cursor, wanted):
        if cursor == "2":
            desk.ledger_error = "disk I/O error"
        return await whole(limit, cursor, wanted)

    monkeypatch.setattr(type(desk), "events", lambda _, *args: events(*args))
    async with open_serving(app) as serving, httpx.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        received = b""

        async def download():
            nonlocal received
            async with client.stream("GET", f"{serving.url}{PATH}") as answer:
                assert answer.status_code == 200
                async for piece in answer.aiter_raw():
                    received += piece

        with pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
            await download()
        assert received.count(b"\r\n") == 3, "the header and the two rows that could be read"
        desk.ledger_error = None
        monkeypatch.undo()
        assert len(read_csv((await client.get(f"{serving.url}{PATH}")).text)) == 4


async def test_a_client_that_goes_away_ends_the_reading(app, desk, monkeypatch):
    monkeypatch.setattr("propbot.api.export.SLICE_ROWS", 1)
    reads = []

    async def endless(_, limit, cursor, wanted):
        await trio.sleep(0.001)
        reads.append(cursor)
        return [make_event(1)], str(len(reads))

    monkeypatch.setattr(type(desk), "events", endless)
    async with open_serving(app) as serving:
        async with await serving.connect() as stream:
            await stream.send_all(
                f"GET {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
            )
            assert (await stream.receive_some(65536)).startswith(b"HTTP/1.1 200")
        await trio.sleep(0.2)
        after = len(reads)
        await trio.sleep(0.2)
        assert after > 0
        assert len(reads) == after
        assert await serving.healthz() == 200


def test_the_times_of_rows_are_those_of_the_list():
    ((_, ts, *_rest),) = read_csv(write_csv([make_event(1)], False, True))
    assert ts == rows.event(make_event(1))["ts"]
    assert NOW_NS // 10**6 % 1000 == 123
