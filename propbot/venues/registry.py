"""Which venues there are, by name: the one place where a new dialect is announced."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from propbot.domain.dialect import Dialect
from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM, Credentials, VenueId
from propbot.domain.mode import Profile
from propbot.venues.binance_spot import BinanceSpot
from propbot.venues.binance_um import BinanceUm

_DIALECTS: Mapping[VenueId, Callable[[Credentials], Dialect]] = {BINANCE_UM: BinanceUm, BINANCE_SPOT: BinanceSpot}


def make_dialect(venue: VenueId, credentials: Credentials) -> Dialect:
    """ValueError, naming those that there are, for a venue without a dialect."""
    dialect = _DIALECTS.get(venue)
    if dialect is None:
        raise ValueError(f"no dialect for {venue}; there are {', '.join(_DIALECTS)}")
    return dialect(credentials)


def rest_credential_names(venue: VenueId, profile: Profile) -> tuple[str, str]:
    """The settings that hold key and secret, such as BINANCE_UM_API_KEY_TESTNET. Paper uses the testnet names."""
    stem = venue.upper().replace("-", "_")
    suffix = "" if profile is Profile.LIVE else "_TESTNET"
    return f"{stem}_API_KEY{suffix}", f"{stem}_API_SECRET{suffix}"
