"""What a service is opened with: the seams that a simulation replaces, the settings, the venues, the secrets.

`compose.py` makes them for a process, `simulate` and `replay` for a world in virtual time; the service that runs on
them is the same.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

from attrs import Factory, field, frozen

from propbot.domain.clock import Clock
from propbot.domain.dialect import Dialect
from propbot.domain.instruments import Endpoints, VenueId
from propbot.kit.crash import CrashPoints
from propbot.kit.disk import FreeBytes, OpenSqlite, ReplaceFile, free_bytes, replace_file
from propbot.kit.net import Network
from propbot.kit.redact import Redactor
from propbot.kit.threads import OpenWorker
from propbot.kit.trace import Trace
from propbot.kit.ws import OpenWebSocket
from propbot.kit.ws_sansio import open_websocket
from propbot.secrets.keyring import Keyring
from propbot.settings import Settings


@frozen
class Seams:
    """Everything that a simulation replaces."""

    network: Network
    clock: Clock
    rng: random.Random
    open_worker: OpenWorker
    open_sqlite: OpenSqlite
    trace: Trace
    crash: CrashPoints
    replace_file: ReplaceFile = replace_file
    open_websocket: OpenWebSocket = open_websocket
    free_bytes: FreeBytes = free_bytes
    outside: Network | None = None
    """Where what is no venue is reached, verified by the system's authorities; None: over `network`."""
    redactor: Redactor = field(factory=Redactor)
    """What is registered here is in no log, no journal and no answer."""


@frozen
class VenueConfig:
    """One loop venue: where it answers, whose keys, its language."""

    endpoints: Endpoints
    dialect: Dialect


@frozen
class ServiceConfig:
    settings: Settings
    venues: Mapping[VenueId, VenueConfig]
    data_dir: Path
    keyring: Keyring = field(default=Factory(lambda self: Keyring.empty(self.data_dir), takes_self=True))
