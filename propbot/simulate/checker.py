"""The invariant checker: reads what a run left behind and says what must never have happened (FAULTS section 2).

It is the oracle of every scenario, so it is written apart from the bot: only the standard library and attrs, its own
reading of the rules, its own bookkeeping. `test_checker.py` plants a bug for each invariant and sees it caught.

How a harness uses it:

1. One list of rows for all: `rows = []`, `MemoryTrace("bot", rows)` for the service's seams, `MemoryTrace("venue",
   rows)` as the sink of the embedded venues. The order of the list is the order of events; every restart of the bot
   goes on in the same list and in the same `trio.run`, so that `t` never steps back.
2. When it kills the bot it writes `{"who": "bot", "kind": "crash"}` itself, at that moment: a killed process can't.
3. Faults off, let 120 virtual seconds pass, bring the bot to rest (HOLD, or a plain stop) and only then read: the
   ledger's tables from SQLite (text stays text), the venues' own books from their engines. That is `quiesced=True`.
   A run that can't come to rest (the bot is dead, a venue is down to the end) is checked with `quiesced=False`: what
   compares end states is then left out, what must hold at every moment is not.
4. `violations = check(evidence)`, and the assertion shows all of them: `assert not violations, report(violations)`.

Rows that it reads. Bot: `start`, `crash`, `mode`, `hold_cause`, `resume`, `flags`, `state_saved`, `intent_committed`,
`order_send` (`seen`: what each book said), `order_state`, `order_correction`, `fill_booked`, `recon`, `baseline`,
`approval` (`id`, `state`, `proposer`, `by`, `digest`, `expires_t`). Venue: `order`, `order_reply`, `order_end`,
`cancel`, `trade`, `request`, `fault`, `reply` (`retry_after`, `used_share`). Harness: `state_file` (`content`, as a
start, a kill or a stop finds it), `disk` (`broken`), `hold_asked` (`dead`), `api` (a request: `method`, `path`,
`status`, `principal`, `before`, `after`, `disturbed`, `hold_asked`), `at_rest` (`mode`, `causes`, `unwell`,
`heartbeat_age_s`, `dead_tasks`), `resources` (`counts`). A missing kind of the bot or the venues makes the checker
blind, not content: `check` refuses evidence in which the venues saw orders of ours and the bot's trace has no `mode`
row at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from propbot.simulate.oracle.access import check_access, check_two_people
from propbot.simulate.oracle.accounts import check_cash, check_fills, check_recon
from propbot.simulate.oracle.books import check_book_truth, check_freshness
from propbot.simulate.oracle.disk import check_chain, check_state_file
from propbot.simulate.oracle.evidence import Evidence, LedgerEnd, Limits, Row, VenueEnd, Violation
from propbot.simulate.oracle.gate import check_gate
from propbot.simulate.oracle.holds import check_hold_speed, check_kill_independence
from propbot.simulate.oracle.limits import check_exposure, check_limits
from propbot.simulate.oracle.modes import check_sticky
from propbot.simulate.oracle.orders import check_ids, check_one_outcome, check_write_ahead
from propbot.simulate.oracle.rates import check_rates
from propbot.simulate.oracle.rest import check_determinism, check_liveness, check_resources
from propbot.simulate.oracle.restarts import check_restarts
from propbot.simulate.oracle.secrets import check_secrets

__all__ = ["Evidence", "LedgerEnd", "Limits", "Row", "VenueEnd", "Violation", "check", "report"]

CHECKS: tuple[Callable[[Evidence], Iterator[Violation]], ...] = (
    check_gate,
    check_limits,
    check_one_outcome,
    check_write_ahead,
    check_ids,
    check_fills,
    check_recon,
    check_cash,
    check_exposure,
    check_sticky,
    check_restarts,
    check_hold_speed,
    check_freshness,
    check_book_truth,
    check_state_file,
    check_secrets,
    check_chain,
    check_rates,
    check_liveness,
    check_access,
    check_resources,
    check_determinism,
    check_two_people,
    check_kill_independence,
)


def check(evidence: Evidence) -> list[Violation]:
    """Everything that was violated, in the order of time. ValueError for evidence that proves nothing."""
    saw_orders = any(True for _ in evidence.of_venues("order"))
    if saw_orders and not any(True for _ in evidence.of_bot("mode")):
        raise ValueError("the venues saw orders and the bot's trace has no mode row: is it the bot's trace?")
    found = [violation for each in CHECKS for violation in each(evidence)]
    return sorted(found, key=lambda violation: violation.t)


def report(violations: Sequence[Violation]) -> str:
    """One line each, for an assertion's message."""
    return "\n".join(f"{each.invariant} at {each.t:g} s: {each.text}" for each in violations) or "nothing violated"
