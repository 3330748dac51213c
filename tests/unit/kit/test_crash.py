"""Crash points: which passage ends the process, and what is refused."""

from __future__ import annotations

import pytest

from propbot.kit.crash import CRASH_POINTS, CrashPoints, parse_crash_at


class Killed(BaseException):
    pass


def _die() -> None:
    raise Killed


@pytest.mark.parametrize("name", CRASH_POINTS)
def test_every_known_point_parses_with_and_without_a_count(name: str) -> None:
    assert parse_crash_at(name) == (name, 1)
    assert parse_crash_at(f"{name}:3") == (name, 3)


@pytest.mark.parametrize(
    "text", ["", "ack", "ack:3", "ack:after:", "ack:after:0", "ack:after:-1", "ack:after:x", "x:1"]
)
def test_what_is_no_crash_point_is_refused_with_the_list_of_those_that_are(text: str) -> None:
    with pytest.raises(ValueError, match="state-rename:after"):
        parse_crash_at(text)


def test_it_dies_at_the_named_passage_and_at_no_other() -> None:
    crash = CrashPoints("ack:before:2", _die)
    for name in (*CRASH_POINTS, "ack:after"):
        crash.passage(name)
    with pytest.raises(Killed):
        crash.passage("ack:before")
    crash.passage("ack:before")


def test_without_a_setting_nothing_happens() -> None:
    crash = CrashPoints(None, _die)
    for name in CRASH_POINTS:
        crash.passage(name)


def test_a_passage_that_nobody_has_named_is_a_bug() -> None:
    with pytest.raises(AssertionError):
        CrashPoints().passage("ack:bfore")
