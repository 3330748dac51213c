"""The settings whose text has a grammar of its own: lists of venues, market sources, names with a variable part."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import field, frozen

from propbot.domain.instruments import VenueId
from propbot.kit.crash import parse_crash_at


@frozen
class SyntheticMarket:
    """A market made from a seed and the wall clock."""


@frozen
class RecordingMarket:
    """Recorded streams, one file a venue."""

    files: Mapping[VenueId, Path] = field()


PaperMarket = SyntheticMarket | RecordingMarket


def parse_pair(text: str) -> str:
    if not re.fullmatch(r"[A-Z0-9]{5,20}", text):
        raise ValueError("accepted: a symbol in capital letters and digits, such as BTCUSDT")
    return text


def known_crash_point(text: str) -> str:
    parse_crash_at(text)
    return text


def parse_directory(text: str) -> Path:
    if not text or "\0" in text:
        raise ValueError("no directory")
    return Path(text)


def parse_venues(text: str, known: Sequence[VenueId]) -> tuple[VenueId, ...]:
    """`a,b` or `["a","b"]`, each known and each once."""
    if len(text) > 1000:  # also keeps the parser from a nest of brackets
        raise ValueError("too long")
    names = json.loads(text) if text.lstrip().startswith("[") else text.split(",")
    venues = tuple(_venue(name, known) for name in names)
    if not venues or len(set(venues)) != len(venues):
        raise ValueError("a venue twice, or none")
    return venues


def parse_market(text: str, known: Sequence[VenueId]) -> PaperMarket:
    """`synthetic`, or `recording:VENUE=FILE,VENUE=FILE`; whether the files exist is not looked at."""
    if text == "synthetic":
        return SyntheticMarket()
    kind, _, listed = text.partition(":")
    if kind != "recording":
        raise ValueError("no such market source")
    files: dict[VenueId, Path] = {}
    for part in listed.split(","):
        name, _, path = part.partition("=")
        venue = _venue(name, known)
        if not path or venue in files:
            raise ValueError("a venue without a file, or twice")
        files[venue] = Path(path)
    return RecordingMarket(files)


def variable_part(name: str, fixed: str) -> str | None:
    """`BTCUSDT` of `MAX_POSITION_USDT__BTCUSDT` for the fixed part `MAX_POSITION_USDT`; None for other names."""
    prefix = fixed + "__"
    return name[len(prefix) :] if name.startswith(prefix) else None


def _venue(name: object, known: Sequence[VenueId]) -> VenueId:
    for venue in known:
        if isinstance(name, str) and venue == name.strip():
            return venue
    raise ValueError("no such venue")
