"""Which secrets can be stored, by name: the venues' keys of both kinds, and Telegram's token."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum

from attrs import frozen

from propbot.domain.instruments import VenueId
from propbot.domain.mode import Profile

KEY_VENUES = ("BINANCE_UM", "BINANCE_SPOT", "OKX_PERP", "BYBIT_LINEAR")
TELEGRAM_TOKEN = "TELEGRAM_BOT_TOKEN"  # noqa: S105 (a name)
CHARACTERS_MIN, CHARACTERS_MAX = 8, 512


class Part(StrEnum):
    KEY = "KEY"
    SECRET = "SECRET"  # noqa: S105 (a name)
    PASSPHRASE = "PASSPHRASE"  # noqa: S105 (a name)


@frozen
class KeyName:
    """What `BINANCE_UM_API_KEY_TESTNET` says."""

    venue: VenueId
    part: Part
    testnet: bool

    @property
    def name(self) -> str:
        stem = self.venue.upper().replace("-", "_")
        return f"{stem}_API_{self.part}{'_TESTNET' if self.testnet else ''}"

    def serves(self, profile: Profile) -> bool:
        """Paper uses the names of the test networks."""
        return self.testnet is (profile is not Profile.LIVE)


_ALL = [
    KeyName(VenueId(venue.lower().replace("_", "-")), part, testnet)
    for venue in KEY_VENUES for part in Part for testnet in (False, True)
]
KEY_NAMES: Mapping[str, KeyName] = {each.name: each for each in _ALL}
_BOT_TOKEN = re.compile(r"[0-9]{3,20}:[A-Za-z0-9_-]{8,}")
_OF_NO_KEY = frozenset('":\\{}')
STORABLE = frozenset({*KEY_NAMES, TELEGRAM_TOKEN})


def pair_names(venue: VenueId, profile: Profile) -> tuple[str, str]:
    """What key and secret of `venue` are called where `profile` trades."""
    testnet = profile is not Profile.LIVE
    return KeyName(venue, Part.KEY, testnet).name, KeyName(venue, Part.SECRET, testnet).name


def value_problem(name: str, value: object) -> str | None:
    """Why `value` can be no secret of that name; never says what it is.

    Whatever is stored is taken out of answers and journal wherever it stands: a value such as `operator:ada` would take
    a person's name out of what they did, one with quotes and colons make an answer no JSON any more."""
    if not isinstance(value, str):
        return "a secret is a text"
    if not CHARACTERS_MIN <= len(value) <= CHARACTERS_MAX:
        return f"a secret has {CHARACTERS_MIN} to {CHARACTERS_MAX} characters"
    if not (value.isascii() and value.isprintable() and " " not in value):
        return "a secret has no blanks, line ends or letters outside of ASCII: was it cut or pasted with more?"
    if name == TELEGRAM_TOKEN:
        return None if _BOT_TOKEN.fullmatch(value) else "BotFather's tokens look like 123456:ABC-DEF"
    if _OF_NO_KEY & set(value):
        return f"a venue's secret has none of {' '.join(sorted(_OF_NO_KEY))}: was it pasted with more?"
    return None
