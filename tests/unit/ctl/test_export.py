"""`export-log`: nothing lost, nothing doubled, and a file that is there whole or not at all."""

from __future__ import annotations

import csv
import json
import stat

import pytest

from propbotctl import journal
from propbotctl.failures import Failure
from propbotctl.journal import read_array
from tests.unit.ctl.conftest import SINCE


def event(id, **more):
    about = {"ts": SINCE, "level": "INFO", "kind": "control", "venue": "", "symbol": "", "source": "operator:api"}
    return {"id": id, **about, "message": f"№ {id}", "details": {"n": id}, **more}


def serve(api, newest):
    """A journal of ids 1 to `newest`: the export cuts at its limit, the list has cursors."""
    rows = [event(id) for id in range(newest, 0, -1)]

    def export(query):
        return 200, json.dumps(rows[: int(query["limit"])], ensure_ascii=False).encode()

    def page(query):
        below = [row for row in rows if row["id"] < int(query.get("cursor", newest + 1))]
        items = below[: int(query["limit"])]
        return 200, {"items": items, "next_cursor": str(items[-1]["id"]) if len(items) < len(below) else None}

    api.answers["/api/ui/events/export"] = export
    api.answers["/api/ui/events"] = page
    return rows


def test_the_file_has_the_suffixs_format_its_folder_is_made_and_its_owner_alone_reads_it(run, api, tmp_path):
    rows = serve(api, 3)
    out = tmp_path / "logs" / "deep" / "events.json"
    result = run("export-log", "--out", str(out))
    assert (result.exit_code, result.stdout) == (0, f"3 events written to {out} (json)\n")
    assert json.loads(out.read_text()) == rows
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert stat.S_IMODE(out.parent.stat().st_mode) == 0o700
    assert list(out.parent.iterdir()) == [out], "no draft is left"
    sheet = tmp_path / "events.csv"
    run("export-log", "--out", str(sheet))
    with sheet.open(newline="") as file:
        read = list(csv.DictReader(file))
    assert [row["id"] for row in read] == ["3", "2", "1"]
    assert json.loads(read[0]["details"]) == {"n": 3}
    assert run("export-log", "--out", str(sheet), "--format", "json", "--json").exit_code == 0
    assert json.loads(sheet.read_text()) == rows, "what is asked for beats the suffix"


def test_without_a_file_it_goes_to_standard_output_as_json_or_csv(run, api):
    rows = serve(api, 2)
    assert json.loads(run("export-log").stdout) == rows
    assert run("export-log", "--format", "csv").stdout.splitlines()[0].startswith("id,ts,level,kind,venue,symbol")
    serve(api, 0)
    assert json.loads(run("export-log").stdout) == []


def test_more_than_one_export_holds_is_fetched_page_by_page(run, api, tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "EXPORT_ROWS_MAX", 10)
    monkeypatch.setattr(journal, "PAGE_ROWS", 4)
    rows = serve(api, 25)
    out = tmp_path / "all.json"
    assert run("export-log", "--out", str(out), "--kind", "control").exit_code == 0
    assert json.loads(out.read_text()) == rows
    assert all("kind=control" in asked["query"] for asked in api.asked)
    assert [asked["query"].partition("cursor=")[2] for asked in api.asked] == ["", "16", "12", "8", "4"]


@pytest.mark.parametrize(("limit", "requests"), [(3, 1), (10, 1), (13, 2)])
def test_a_limit_is_obeyed_and_no_more_is_asked_for(run, api, monkeypatch, limit, requests):
    monkeypatch.setattr(journal, "EXPORT_ROWS_MAX", 10)
    rows = serve(api, 25)
    assert json.loads(run("export-log", "--limit", str(limit)).stdout) == rows[:limit]
    assert len(api.asked) == requests


def test_cells_that_a_spreadsheet_would_run_are_made_text(run, api):
    evil = event(1, message="=cmd()|' /C calc'!A0", source="+operator")
    api.answers["/api/ui/events/export"] = (200, json.dumps([evil]).encode())
    row = next(csv.DictReader(run("export-log", "--format", "csv").stdout.splitlines()))
    assert row["message"] == "'=cmd()|' /C calc'!A0"
    assert row["source"] == "'+operator"


@pytest.mark.parametrize("answer", [b'[{"id": 1}, {"id"', b'{"items": []}', b"", b'[{"id": 1},'])
def test_an_answer_that_is_not_whole_leaves_the_older_file(run, api, tmp_path, answer):
    out = tmp_path / "events.json"
    out.write_text("older")
    api.answers["/api/ui/events/export"] = (200, answer)
    result = run("export-log", "--out", str(out))
    assert (result.exit_code, out.read_text()) == (1, "older")
    assert list(tmp_path.iterdir()) == [out]


def test_a_refused_export_writes_nothing_and_says_why(run, api, tmp_path):
    api.answers["/api/ui/events/export"] = (422, {"error": {"code": "invalid", "message": "since: an ISO 8601 time"}})
    result = run("export-log", "--out", str(tmp_path / "x.json"), "--since", "yesterday")
    assert (result.exit_code, list(tmp_path.iterdir())) == (1, [])
    assert "an ISO 8601 time" in result.stderr


def test_a_place_that_cannot_be_written_is_a_failure_that_names_it(run, api, tmp_path):
    serve(api, 1)
    (tmp_path / "file").write_text("")
    for out in (tmp_path, tmp_path / "file" / "below.json"):
        result = run("export-log", "--out", str(out))
        assert result.exit_code == 1
        assert str(out) in result.stderr.replace("\n", "")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_an_array_is_read_however_it_is_cut(size):
    rows = [event(3, message="] , [ \\ \" €"), event(2), event(1, details={"a": [1, {"b": None}]})]
    raw = ("\n [ " + " ,\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + " ] \n").encode()
    chunks = [raw[at : at + size] for at in range(0, len(raw), size)]
    assert list(read_array(chunks)) == rows


def test_what_follows_an_array_is_no_part_of_it():
    with pytest.raises(Failure):
        list(read_array([b"[] []"]))
