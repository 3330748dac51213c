"""The settings whose text has a grammar of its own: lists of venues, market sources, names with a variable part."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from urllib.parse import urlsplit

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


WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")


@frozen
class MaintenanceWindow:
    """When a venue is at rest, UTC. Either once, `start_s` to `end_s` since 1970, or weekly: the same since Monday
    00:00, where an end before the start lies in the next week."""

    start_s: int
    end_s: int
    weekly: bool
    text: str
    """As it was given, for people."""

    def covers(self, wall_s: float) -> bool:
        if not self.weekly:
            return self.start_s <= wall_s < self.end_s
        since_monday_s = (wall_s - MONDAY_S) % WEEK_S
        if self.start_s <= self.end_s:
            return self.start_s <= since_monday_s < self.end_s
        return since_monday_s >= self.start_s or since_monday_s < self.end_s


MONDAY_S = 4 * 86_400
"""The first Monday after 1970-01-01, a Thursday."""
WEEK_S = 7 * 86_400


def parse_windows(text: str) -> tuple[MaintenanceWindow, ...]:
    """`2026-12-01T02:00Z/2026-12-01T03:00Z` or `WED 02:00-03:00`, with commas between; ValueError for anything else."""
    return tuple(_parse_window(part.strip()) for part in text.split(",")) if text.strip() else ()


def _parse_window(text: str) -> MaintenanceWindow:
    weekly = re.fullmatch(r"([A-Z]{3}) (\d\d):(\d\d)-(\d\d):(\d\d)", text)
    if weekly is not None:
        day_s = WEEKDAYS.index(weekly[1]) * 86_400
        start_s, end_s = (_clock_s(weekly[n], weekly[n + 1]) for n in (2, 4))
        if start_s == end_s:
            raise ValueError("a window of no length")
        return MaintenanceWindow(day_s + start_s, (day_s + end_s + (end_s < start_s) * 86_400) % WEEK_S, True, text)
    start, _, end = text.partition("/")
    start_s, end_s = (_instant_s(each) for each in (start, end))
    if end_s <= start_s:
        raise ValueError("a window that ends before it begins")
    return MaintenanceWindow(start_s, end_s, False, text)


def _clock_s(hours: str, minutes: str) -> int:
    if int(hours) > 23 or int(minutes) > 59:
        raise ValueError("no time of day")
    return int(hours) * 3600 + int(minutes) * 60


def _instant_s(text: str) -> int:
    moment = datetime.fromisoformat(text)
    if moment.utcoffset() is None:
        raise ValueError("a time without a zone; end it with Z")
    return int(moment.timestamp())


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


def no_nul(path: Path | None) -> Path | None:
    """No file's name has one, and whatever is asked about such a path raises."""
    if path is not None and "\0" in str(path):
        raise ValueError("no file")
    return path


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def parse_bot_token(text: str) -> str:
    """It stands in a path, so that nothing else may be in it."""
    if not re.fullmatch(r"[A-Za-z0-9:_-]{3,200}", text):
        raise ValueError("no token")
    return text


def no_zero(number: int | None) -> int | None:
    if number == 0:
        raise ValueError("no chat has the number 0")
    return number


def parse_api_base(text: str) -> str:
    """Without a slash at its end; the token travels there, so that it has to be TLS wherever it leaves the machine."""
    parts = urlsplit(text)
    clear = parts.scheme == "http" and is_loopback(parts.hostname or "")
    extra = parts.query or parts.fragment or parts.username or parts.password
    if not parts.hostname or extra or not (parts.scheme == "https" or clear):
        raise ValueError("neither https nor on loopback")
    if not re.fullmatch(r"[\x21-\x7e]*", text):
        raise ValueError("no address")
    return text.rstrip("/")


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


@frozen
class TrustedProxy:
    """Whether a proxy stands before the API and speaks TLS, and from where it asks. `true` alone says not from where:
    then nobody's X-Forwarded-For is believed."""

    there: bool = False
    networks: tuple[IPv4Network | IPv6Network, ...] = ()


def parse_trusted_proxy(text: str) -> TrustedProxy:
    """`false`, `true`, or the addresses and networks of proxies, with commas."""
    said = text.strip().lower()
    if said in ("", "false", "true"):
        return TrustedProxy(said == "true")
    return TrustedProxy(True, tuple(ip_network(each.strip()) for each in said.split(",")))


_HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")


def parse_host_names(text: str) -> frozenset[str]:
    """Names with commas, in small letters; no port, no address, no wildcard."""
    names = frozenset(each.strip().lower().rstrip(".") for each in text.split(",") if each.strip())
    for name in names:
        if not _HOST_NAME.fullmatch(name):
            raise ValueError(f"{name} is no host name")
    return names
