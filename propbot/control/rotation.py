"""New secrets from an operator: checked at the venue, made durable, then in force, while orders go on.

    names and values ─► each pair of the active profile: a signed read with it ─► secrets.enc ─► it signs
                               │ refused: 422, nothing changed       │ the disk fails: 409, nothing changed

A kill before the file has its name leaves the old keys in force, one after it the new ones: there is nothing between.
The check can't tell whether the new keys are of the same account: reconciliation does, right after, and it is a HOLD.
"""

from __future__ import annotations

from collections.abc import Mapping

import trio
from attrs import define, field

from propbot.domain.dialect import Dialect
from propbot.domain.errors import AccessRefused, VenueError
from propbot.domain.instruments import Credentials, VenueId
from propbot.domain.mode import Profile
from propbot.secrets.names import KEY_NAMES, TELEGRAM_TOKEN, KeyName, Part, pair_names
from propbot.service import Service
from propbot.status.desk import Conflict, SecretsOutcome, SecretsStored, Unusable
from propbot.venues.registry import make_dialect

CHECK_S_MAX = 4.0
JOURNAL_WAIT_S = 0.5


@define
class NewPair:
    """The pair that one venue is to sign with. `names` are those that were sent."""

    venue: VenueId
    credentials: Credentials
    dialect: Dialect
    names: list[str]
    problem: str | None = None
    warning: str | None = None


@define(eq=False)
class Rotation:
    """One at a time: the second one is checked against what the first one has left."""

    service: Service
    _running: trio.Lock = field(factory=trio.Lock)

    async def store(self, values: Mapping[str, str], operator: str) -> SecretsOutcome:
        """`values` by legal names, each a legal secret. All of it, or nothing."""
        self.service.seams.redactor.register(*values.values())  # before anything is said of them
        async with self._running:
            outcome = await self._store(values, operator)
        if not isinstance(outcome, SecretsStored):
            said = "; ".join(outcome.reasons) if isinstance(outcome, Conflict) else _said_of(outcome)
            self._say("WARN", f"secrets were not stored: {said}", operator)
        with trio.move_on_after(JOURNAL_WAIT_S):
            await self.service.journal.wait_written()
        return outcome

    async def _store(self, values: Mapping[str, str], operator: str) -> SecretsOutcome:
        service = self.service
        refusal = service.config.keyring.vault.refusal()
        if refusal is not None:
            return Conflict([refusal])
        missing = self._missing_halves(values)
        if missing:
            return Unusable(missing)
        pairs = self._new_pairs(values)
        async with trio.open_nursery() as nursery:
            for pair in pairs:
                nursery.start_soon(self._check, pair)
        problems = {name: pair.problem for pair in pairs if pair.problem is not None for name in pair.names}
        if problems:
            return Unusable(problems)
        whole = {**values, **self._other_halves(pairs)}
        try:
            made_at = await service.secrets.put(whole)
        except OSError as error:
            return Conflict([f"secrets.enc can't be written, the old secrets stay: {error.strerror}"])
        for pair in pairs:
            self._swap(pair)
        checked = {name: any(name in pair.names for pair in pairs) for name in values}
        self._tell(whole, checked, operator)
        return SecretsStored(tuple(values), checked, self._warnings(values, whole, pairs, made_at))

    # --- which pairs

    def _new_pairs(self, values: Mapping[str, str]) -> list[NewPair]:
        """What the loop's venues are to sign with; the half that was not sent is the one in force."""
        profile, keyring = self.service.config.settings.profile, self.service.config.keyring
        pairs: list[NewPair] = []
        for venue in self.service.venues:
            names = pair_names(venue, profile)
            sent = [name for name in names if name in values]
            if sent:
                key, secret = (values.get(name) or keyring.value(name) or "" for name in names)
                credentials = Credentials(key, secret)
                pairs.append(NewPair(venue, credentials, make_dialect(venue, credentials), sent))
        return pairs

    def _missing_halves(self, values: Mapping[str, str]) -> dict[str, str]:
        profile, keyring = self.service.config.settings.profile, self.service.config.keyring
        missing: dict[str, str] = {}
        for venue in self.service.venues:
            names = pair_names(venue, profile)
            for name, other in (names, names[::-1]):
                if name in values and other not in values and keyring.value(other) is None:
                    missing[name] = f"{other} is neither stored nor in the environment: send both"
        return missing

    def _other_halves(self, pairs: list[NewPair]) -> dict[str, str]:
        """Stored beside those that were sent: halves of two sources would come apart when one of them changes."""
        profile = self.service.config.settings.profile
        halves: dict[str, str] = {}
        for pair in pairs:
            key, secret = pair_names(pair.venue, profile)
            halves |= {key: pair.credentials.api_key, secret: pair.credentials.api_secret}
        return halves

    # --- check and swap

    async def _check(self, pair: NewPair) -> None:
        """A signed read with the new pair, then what it may do, as the preflight asks it."""
        gateway = self.service.gateways[pair.venue]
        with trio.move_on_after(CHECK_S_MAX) as scope:
            try:
                await gateway.try_keys(pair.dialect)
                rights = await gateway.key_rights(pair.dialect)
            except AccessRefused as error:
                pair.problem = f"{pair.venue} refuses it: {error.message}"
                return
            except VenueError as error:
                pair.problem = f"it could not be checked at {pair.venue}: {error.message}"
                return
        if scope.cancelled_caught:
            pair.problem = f"it could not be checked: {pair.venue} did not answer within {CHECK_S_MAX:g} s"
            return
        if rights is not None and rights.trade is False:
            pair.problem = f"{pair.venue}: this key may not trade: permit it"
        elif rights is not None and rights.withdraw:
            told = f"{pair.venue}: this key can withdraw: make one that can only trade"
            if self.service.config.settings.profile is Profile.LIVE:
                pair.problem = told
            else:
                pair.warning = told

    def _swap(self, pair: NewPair) -> None:
        """No checkpoint: the next request of whatever kind is signed with the new pair. Calls under way keep the old
        one, which the venue still takes: it is taken back there afterwards."""
        service, venue = self.service, pair.venue
        service.gateways[venue].dialect = pair.dialect
        service.links[venue].access_refused = ""
        feed = service.private_feeds.get(venue)
        if feed is not None:
            feed.take_dialect(pair.dialect)
        service.reconciler.look_now(venue)

    # --- what is said

    def _tell(self, whole: Mapping[str, str], checked: Mapping[str, bool], operator: str) -> None:
        """Names and versions: what an audit needs."""
        stored = self.service.config.keyring.vault.stored
        told = ", ".join(f"{name} version {stored[name].version}" for name in sorted(whole))
        good = ", ".join(name for name, yes in sorted(checked.items()) if yes) or "none"
        self._say("INFO", f"secrets stored: {told}", operator, checked=good)
        self.service.seams.trace("secrets", names=sorted(whole))

    def _say(self, level: str, text: str, operator: str, **details: str) -> None:
        self.service.journal.say(level, "secret", text, source=f"operator:{operator}", **details)

    def _warnings(
        self, values: Mapping[str, str], whole: Mapping[str, str], pairs: list[NewPair], made_at: str | None
    ) -> list[str]:
        said = [pair.warning for pair in pairs if pair.warning is not None]
        added = sorted(set(whole) - set(values))
        if added:
            said.append(f"{', '.join(added)}: stored too, as in force: a pair stays together")
        said += [self._unchecked(name) for name in sorted(values) if not any(name in pair.names for pair in pairs)]
        if made_at is not None:
            said.append(f"a key was made that seals secrets.enc, {made_at}: without it they can't be read again")
        if pairs:
            said.append("once every process has the new keys, take the old ones back at the venue")
        return said

    def _unchecked(self, name: str) -> str:
        settings = self.service.config.settings
        if name == TELEGRAM_TOKEN:
            return f"{name}: stored, not checked; in force after a restart"
        key: KeyName = KEY_NAMES[name]
        if not key.serves(settings.profile):
            return f"{name}: stored, not checked: PROFILE={settings.profile} does not use it"
        if key.part is Part.PASSPHRASE and key.venue in self.service.venues:
            return f"{name}: stored, not checked: {key.venue} has no passphrases"
        return f"{name}: stored, not checked: {key.venue} is not in LOOP_VENUES"


def _said_of(outcome: Unusable) -> str:
    return "; ".join(f"{name}: {why}" for name, why in outcome.fields.items())
