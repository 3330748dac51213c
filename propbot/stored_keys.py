"""From settings, what embedded venues gave, and what operators have stored to the keys that sign: stored ones win.

Read before anything lives, also by `propbot check`; changed while it lives by `control.rotation`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from propbot.domain.instruments import Credentials, VenueId
from propbot.domain.mode import Profile
from propbot.secrets.keyring import Given, Keyring, Source
from propbot.secrets.master_key import find_master_key
from propbot.secrets.names import TELEGRAM_TOKEN, pair_names
from propbot.secrets.vault import Vault
from propbot.settings import Settings

NO_KEY = Credentials("", "")
"""What a venue refuses: for a start whose stored keys can't be read, so that it is a HOLD that says so, and no crash
loop."""


def load_vault(settings: Settings) -> Vault:
    sealing = settings.sealing
    text = None if sealing.key is None else sealing.key.get_secret_value()
    return Vault.load(settings.house.data_dir, find_master_key(text, sealing.key_file, sealing.paper_key_file))


def make_keyring(
    settings: Settings, vault: Vault, made: Mapping[VenueId, Credentials] = MappingProxyType({})
) -> Keyring:
    """`made`: what embedded venues gave us. Those serve no key of the environment, which paper ignores."""
    paper = settings.profile is Profile.PAPER
    given = {
        name: Given(Source.ENVIRONMENT, value.get_secret_value()) for name, value in settings.keys.items()
        if not (paper and name.endswith("_TESTNET"))
    }
    if settings.telegram.bot_token is not None:
        given[TELEGRAM_TOKEN] = Given(Source.ENVIRONMENT, settings.telegram.bot_token.get_secret_value())
    for venue, pair in made.items():
        key, secret = pair_names(venue, settings.profile)
        given[key], given[secret] = Given(Source.VENUE, pair.api_key), Given(Source.VENUE, pair.api_secret)
    return Keyring(vault, given)


def given_secrets(settings: Settings) -> list[str]:
    """Every secret of the environment, for the redactor."""
    given = (
        settings.api.token, settings.api.metrics_token, settings.telegram.bot_token, settings.sealing.key,
        *settings.keys.values(),
    )
    return [each.get_secret_value() for each in given if each is not None]


def all_secrets(settings: Settings, keyring: Keyring) -> list[str]:
    """Those that were stored, or made for us, too."""
    return [*keyring.values(), *given_secrets(settings)]
