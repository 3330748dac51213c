"""Every command of both runbooks, typed as it is written, in the order in which it is written."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.runbook.documents import DOCUMENTS, Step, read_sections, read_steps
from tests.runbook.promises import keep, promise_of
from tests.runbook.station import HOST_NAME, Station, open_station

STEPS = [step for document in DOCUMENTS for step in read_steps(document)]
TOOLS = ("bash", "curl", "jq")


def require_tools() -> None:
    """What the runbooks' commands are typed with belongs to the machine, and not to the environment."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        assert not os.environ.get("CI"), f"not on this machine: {', '.join(missing)}"
        pytest.skip(f"not on this machine: {', '.join(missing)}: no command of the runbooks was typed")


@pytest.fixture(scope="session")
def station_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Station]]:
    """One station a document, for all of its steps; the one before is closed."""
    require_tools()
    opened: dict[str, Station] = {}
    with ExitStack() as stack:

        def open_for(document: str) -> Station:
            if document not in opened:
                stack.pop_all().close()
                opened.clear()
                opened[document] = stack.enter_context(open_station(tmp_path_factory.mktemp(document)))
            return opened[document]

        yield open_for


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_a_step_keeps_its_promise(station_of: Callable[[str], Station], step: Step) -> None:
    keep(step, station_of)


def test_behind_the_proxy_the_name_that_is_allowed_is_answered_and_another_is_told_what_to_do(
    station_of: Callable[[str], Station],
) -> None:
    """Section 7, step 4."""
    station = station_of("en")
    port = station.host.partition(":")[2]
    answers = [
        station.shell(f"curl -s --resolve {name}:{port}:127.0.0.1 https://{name}:{port}/healthz")
        for name in (HOST_NAME, f"other.{HOST_NAME}")
    ]
    assert [done.code for done in answers] == [0, 0]
    assert answers[0].json() == {"status": "ok"}
    assert "API_ALLOWED_HOSTS" in answers[1].json()["error"]["message"]


def test_both_documents_have_the_same_sections() -> None:
    assert read_sections("en") == read_sections("ru")


def test_whatever_one_document_has_typed_the_other_has_in_the_same_section() -> None:
    """By what is promised of it, so that a text may be another."""
    english, russian = (
        {(step.section, promise_of(step).pattern) for step in read_steps(document)} for document in ("en", "ru")
    )
    assert english == russian
    assert min(len(read_steps(document)) for document in ("en", "ru")) >= 60


def test_the_russian_text_names_todays_command_and_no_value_that_a_venue_can_not_have() -> None:
    text = DOCUMENTS["ru"].read_text(encoding="utf-8")
    assert "propbotctl.py" not in text
    values = [found for step in read_steps("ru") for found in re.findall(r"(?:--value |_TESTNET\": )(\S+)", step.text)]
    assert len(values) == 3
    assert all(value.isascii() for value in values)
