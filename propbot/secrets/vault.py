"""The vault: `secrets.enc` in the data directory as this life found it, and each change of it.

A file that can't be opened is never guessed at and never overwritten: `problem` says why, the service makes it a HOLD,
and nothing more is stored until a person has seen to it. Read once at the start, before any task lives; written by a
worker of its own, since a disk may hang.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import trio
from attrs import define, field

from propbot.domain.clock import Clock
from propbot.kit.crash import CrashPoints
from propbot.kit.disk import ReplaceFile
from propbot.kit.threads import Worker
from propbot.secrets.master_key import HOW_TO_MAKE, MasterKey, make_key_file
from propbot.secrets.sealing import FILE_BYTES_MAX, BadSecrets, RandomBytes, Secret, open_sealed, seal

FILE_NAME = "secrets.enc"
WRITE_S_MAX = 2.0
"""A disk that takes longer does not answer."""
POINT = "secret-swap"
"""The crash points around the moment at which the file has its new content."""


@define(eq=False)
class Vault:
    """`stored` is what is durable, by name."""

    folder: Path
    master: MasterKey
    stored: Mapping[str, Secret] = field(factory=dict, repr=False)
    problem: str | None = None

    @classmethod
    def load(cls, folder: Path, master: MasterKey) -> Vault:
        path = folder / FILE_NAME
        try:
            with open(path, "rb") as file:
                content = file.read(FILE_BYTES_MAX)
        except FileNotFoundError:
            return cls(folder, master)
        except OSError as error:
            return cls(folder, master, problem=f"{path} can't be read: {error.strerror}")
        if master.key is None:
            return cls(folder, master, problem=f"{path} can't be opened: its key is missing: {master.whence}")
        try:
            return cls(folder, master, open_sealed(content, master.key))
        except BadSecrets as error:
            return cls(folder, master, problem=f"{path} can't be opened: {error}; key from {master.whence}")

    def refusal(self) -> str | None:
        """Why nothing can be stored now; None when it can."""
        if self.problem is not None:
            return f"{self.problem}; storing now would overwrite it"
        if self.master.key is None and self.master.make_at is None:
            return f"there is no key to seal secrets with: set SECRETS_KEY_FILE ({HOW_TO_MAKE}) and restart"
        return None


@define(eq=False)
class VaultKeeper:
    """The only writer of a vault."""

    vault: Vault
    _worker: Worker
    _crash: CrashPoints
    _replace: ReplaceFile
    _clock: Clock
    _random_bytes: RandomBytes = os.urandom

    async def put(self, values: Mapping[str, str]) -> str | None:
        """All of `values`, or none, durable when it returns; where a master key had to be made, or None. OSError if
        the disk fails, or does not answer (then it may still happen). `refusal` was asked before."""
        vault, now_ns = self.vault, self._clock.wall_ns()
        if self._worker.backlog:
            raise TimeoutError(0, "the disk does not answer")
        changed = {
            name: Secret(name, vault.stored[name].version + 1 if name in vault.stored else 1, now_ns, value)
            for name, value in values.items()
        }
        stored = {**vault.stored, **changed}

        def write() -> MasterKey:
            master = vault.master
            if master.key is None:
                assert master.make_at is not None, "refusal was asked before"
                master = make_key_file(master.make_at, self._random_bytes)
            assert master.key is not None
            content = seal(stored.values(), master.key, self._random_bytes)
            self._replace(vault.folder / FILE_NAME, content, self._crash, point=POINT, mode=0o600)
            return master

        with trio.move_on_after(WRITE_S_MAX) as scope:
            master = await self._worker.call(write)
        if scope.cancelled_caught:
            raise TimeoutError(0, "the disk does not answer")
        # no checkpoint from the worker's answer to here: memory says what the disk says
        made = master.whence if vault.master.key is None else None
        vault.master, vault.stored = master, stored
        return made
