"""Where the venues answer, by profile. Paper has no addresses of its own: the app asks the embedded venues."""

from __future__ import annotations

from collections.abc import Mapping

from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM, Endpoints, VenueId
from propbot.domain.mode import Profile

_ENDPOINTS: Mapping[tuple[VenueId, Profile], Endpoints] = {
    (BINANCE_UM, Profile.LIVE): Endpoints(
        rest="https://fapi.binance.com",
        ws="wss://fstream.binance.com",
        ws_api="wss://ws-fapi.binance.com/ws-fapi/v1",
    ),
    (BINANCE_UM, Profile.TESTNET): Endpoints(
        rest="https://testnet.binancefuture.com",
        ws="wss://fstream.binancefuture.com",
        ws_api="wss://testnet.binancefuture.com/ws-fapi/v1",
    ),
    (BINANCE_SPOT, Profile.LIVE): Endpoints(
        rest="https://api.binance.com",
        ws="wss://stream.binance.com:443",
        ws_api="wss://ws-api.binance.com:443/ws-api/v3",
    ),
    (BINANCE_SPOT, Profile.TESTNET): Endpoints(
        rest="https://testnet.binance.vision",
        ws="wss://stream.testnet.binance.vision",
        ws_api="wss://ws-api.testnet.binance.vision/ws-api/v3",
    ),
}


def endpoints(venue: VenueId, profile: Profile) -> Endpoints:
    """ValueError for paper, and for a venue that this version does not know."""
    found = _ENDPOINTS.get((venue, profile))
    if found is None:
        raise ValueError(f"no addresses for {venue} in profile {profile}")
    return found
