"""Names to dialects, addresses and settings."""

from __future__ import annotations

import pytest

from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM, Credentials, VenueId
from propbot.domain.mode import Profile
from propbot.venues.endpoints import endpoints
from propbot.venues.registry import make_dialect, rest_credential_names


@pytest.mark.parametrize("venue", [BINANCE_UM, BINANCE_SPOT])
def test_each_venue_has_a_dialect_that_knows_its_name(venue: VenueId) -> None:
    assert make_dialect(venue, Credentials("key", "secret")).venue == venue


def test_a_venue_without_a_dialect_is_named() -> None:
    with pytest.raises(ValueError, match="no dialect for okx-perp; there are binance-um, binance-spot"):
        make_dialect(VenueId("okx-perp"), Credentials("key", "secret"))


def test_live_and_testnet_never_share_an_address() -> None:
    for venue in (BINANCE_UM, BINANCE_SPOT):
        live, testnet = endpoints(venue, Profile.LIVE), endpoints(venue, Profile.TESTNET)
        assert not {live.rest, live.ws, live.ws_api} & {testnet.rest, testnet.ws, testnet.ws_api}
        for found in (live, testnet):
            assert found.rest.startswith("https://")
            assert found.ws.startswith("wss://")
            assert found.ws_api.startswith("wss://")
    assert endpoints(BINANCE_UM, Profile.TESTNET).rest == "https://testnet.binancefuture.com"
    assert endpoints(BINANCE_SPOT, Profile.TESTNET).rest == "https://testnet.binance.vision"


def test_paper_and_unknown_venues_have_no_address_here() -> None:
    with pytest.raises(ValueError, match="no addresses for binance-um in profile paper"):
        endpoints(BINANCE_UM, Profile.PAPER)
    with pytest.raises(ValueError, match="okx-perp"):
        endpoints(VenueId("okx-perp"), Profile.LIVE)


@pytest.mark.parametrize(
    ("venue", "profile", "names"),
    [
        (BINANCE_UM, Profile.TESTNET, ("BINANCE_UM_API_KEY_TESTNET", "BINANCE_UM_API_SECRET_TESTNET")),
        (BINANCE_SPOT, Profile.LIVE, ("BINANCE_SPOT_API_KEY", "BINANCE_SPOT_API_SECRET")),
        (BINANCE_SPOT, Profile.PAPER, ("BINANCE_SPOT_API_KEY_TESTNET", "BINANCE_SPOT_API_SECRET_TESTNET")),
    ],
)
def test_the_settings_that_hold_a_key_pair(venue: VenueId, profile: Profile, names: tuple[str, str]) -> None:
    assert rest_credential_names(venue, profile) == names
