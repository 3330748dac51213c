"""The keys of one venue's only account: several may be good at once, so that a client can change from one to another.

As at the real venue a key is made first, the client is given it, and the old one is taken back: `Admin` has the calls.
"""

from __future__ import annotations

import hmac
import re

import trio
from attrs import define, field

from propbot.domain.instruments import Credentials
from propbot.simvenue.faces.errors import bad_key, bad_key_format

KEY_FORMAT = re.compile(r"[A-Za-z0-9]{8,128}")


@define(eq=False)
class AccountKeys:
    first: Credentials
    """What the account was opened with, and what clients of this host are told."""
    _pairs: dict[str, Credentials] = field(factory=dict, init=False, repr=False)
    _used_s: dict[str, float] = field(factory=dict, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.add(self.first)

    def add(self, pair: Credentials) -> None:
        """From now on `pair` is good; a key that is known gets another secret."""
        self._pairs[pair.api_key] = pair

    def revoke(self, api_key: str) -> bool:
        """From now on it is refused; whether there was such a key."""
        return self._pairs.pop(api_key, None) is not None

    def check(self, api_key: str | None) -> Credentials:
        """The pair that `api_key` belongs to; ApiError -2014 or -2015."""
        if not api_key or not KEY_FORMAT.fullmatch(api_key):
            raise bad_key_format()
        for pair in self._pairs.values():
            if hmac.compare_digest(api_key.encode(), pair.api_key.encode()):
                self._used_s[api_key] = trio.current_time()
                return pair
        raise bad_key()

    def known(self) -> dict[str, float | None]:
        """Each good key and when it was used last (Trio's clock)."""
        return {api_key: self._used_s.get(api_key) for api_key in self._pairs}

    def used_s(self, api_key: str) -> float | None:
        """When it was used last, also if it was taken back since."""
        return self._used_s.get(api_key)
