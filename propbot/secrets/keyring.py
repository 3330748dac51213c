"""Which secret is in force under each name, and where it comes from: stored over what was given at the start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path

from attrs import define, field, frozen

from propbot.domain.instruments import Credentials, VenueId
from propbot.domain.mode import Profile
from propbot.secrets.master_key import MasterKey
from propbot.secrets.names import pair_names
from propbot.secrets.vault import Vault


class Source(StrEnum):
    STORED = "stored"
    ENVIRONMENT = "environment"
    VENUE = "venue"
    """Paper: the embedded venue made it, and gave it to us."""


@frozen
class Given:
    """What a start was given."""

    source: Source
    value: str = field(repr=False)


@frozen
class SecretRow:
    """One name, and never its value. `version` and `ts_ns` are of stored ones; of others nobody knows their age."""

    name: str
    source: Source
    version: int | None
    ts_ns: int | None


@define(eq=False)
class Keyring:
    vault: Vault
    given: Mapping[str, Given] = field(factory=dict, repr=False)

    @classmethod
    def empty(cls, folder: Path) -> Keyring:
        """For a service that has nothing but what its dialects hold, such as a replay's."""
        return cls(Vault(folder, MasterKey()))

    def value(self, name: str) -> str | None:
        stored = self.vault.stored.get(name)
        if stored is not None:
            return stored.value
        given = self.given.get(name)
        return None if given is None else given.value

    def pair(self, venue: VenueId, profile: Profile) -> Credentials | None:
        """Both halves as they are in force; None while one is missing."""
        key, secret = (self.value(name) for name in pair_names(venue, profile))
        return None if key is None or secret is None else Credentials(key, secret)

    def stored_pair(self, venue: VenueId, profile: Profile) -> Credentials | None:
        """Only if both are stored."""
        key, secret = (self.vault.stored.get(name) for name in pair_names(venue, profile))
        return None if key is None or secret is None else Credentials(key.value, secret.value)

    def rows(self) -> Sequence[SecretRow]:
        """By name."""
        stored = self.vault.stored
        rows = {name: SecretRow(name, given.source, None, None) for name, given in self.given.items()}
        rows |= {name: SecretRow(name, Source.STORED, each.version, each.ts_ns) for name, each in stored.items()}
        return [rows[name] for name in sorted(rows)]

    def values(self) -> list[str]:
        """Everything that must never be seen: what is in force and what it hides."""
        return [each.value for each in self.vault.stored.values()] + [each.value for each in self.given.values()]
