"""What can go wrong, split by what the caller does about it.

    PropBotError
    ├─ SettingsError             exit 1, every problem at once
    ├─ DataDirectoryBusy         exit 3
    ├─ NotKept                   exit 4, after everything else of the stop
    ├─ LedgerError               HOLD: what can't be recorded isn't traded
    │  └─ TransitionRefused      an order's recorded outcome contradicts the new one; trying again never heals it
    ├─ RecordingError            file and line of a bad recording
    └─ VenueError
       ├─ VenueRetry             nothing was executed; the same question may be asked again after `retry_after_s`
       │  ├─ RateLimited         429
       │  ├─ Banned              418
       │  ├─ ClockRefused        -1021: measure the venue's clock first
       │  └─ ConnectFailed       no byte of the request left
       ├─ VenueRefused           a definite no; nothing was executed
       │  └─ OrderNotFound       -2013, -2011: no proof before 10 s and three polls
       ├─ OutcomeUnknown         it may have been executed: ask by client id, never send again
       │  └─ AlreadyThere        -4116 "duplicate": an earlier send did reach the venue; ask by client id
       ├─ AccessRefused          keys, signature, permissions: stop asking
       └─ ProtocolViolation      the venue sent what its protocol does not allow, or we did (a bug): name it
"""

from __future__ import annotations

from collections.abc import Sequence


class PropBotError(Exception):
    """The root of everything that this project raises on purpose."""


class SettingsError(PropBotError):
    """Wrong settings; `problems` has one line each, every one of them found at once. `warnings`: names nobody reads."""

    def __init__(self, problems: Sequence[str], warnings: Sequence[str] = ()) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)
        self.warnings = tuple(warnings)


class DataDirectoryBusy(PropBotError):
    """Another instance holds the data directory."""


class NotKept(PropBotError):
    """The service has stopped, and its last state is not on the disk; `lost` has a line for each thing."""

    def __init__(self, lost: Sequence[str]) -> None:
        super().__init__("; ".join(lost))
        self.lost = tuple(lost)


class LedgerError(PropBotError):
    """The ledger could not record or read."""


class TransitionRefused(LedgerError):
    """An order cannot go from where it is (perhaps it was never recorded) to where it was asked to go; nothing was
    written."""


class RecordingError(PropBotError):
    """A recording that cannot be used; the message names file and line."""


class VenueError(PropBotError):
    """A venue did not do what was asked. `code` is the venue's own (None where it gave none)."""

    def __init__(self, venue: str, message: str, *, code: int | None = None, http_status: int | None = None) -> None:
        where = "" if code is None else f" (code {code})"
        super().__init__(f"{venue}: {message}{where}")
        self.venue = venue
        self.message = message
        self.code = code
        self.http_status = http_status


class VenueRetry(VenueError):
    retry_after_s: float = 0.0


class RateLimited(VenueRetry):
    def __init__(self, venue: str, message: str, *, retry_after_s: float, code: int | None, http_status: int) -> None:
        super().__init__(venue, message, code=code, http_status=http_status)
        self.retry_after_s = retry_after_s


class Banned(RateLimited):
    pass


class ClockRefused(VenueRetry):
    pass


class ConnectFailed(VenueRetry):
    pass


class VenueRefused(VenueError):
    pass


class OrderNotFound(VenueRefused):
    pass


class OutcomeUnknown(VenueError):
    pass


class AlreadyThere(OutcomeUnknown):
    pass


class AccessRefused(VenueError):
    pass


class ProtocolViolation(VenueError):
    pass
