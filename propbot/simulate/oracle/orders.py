"""I3, I4, I5: every order has one outcome and one legal id, and was written down before it left."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal

from propbot.simulate.oracle.evidence import TERMINAL, Evidence, Row, Violation, number

ZERO = Decimal(0)
QUIET_S = 120.0
UNKNOWN_S_MAX = 60.0
NOT_TAKEN = ("REJECTED", "NEVER_SENT")
_LEGAL_ID = re.compile(r"[A-Za-z0-9]{1,32}")
"""OKX's rule, the tightest of all venues."""


def check_one_outcome(evidence: Evidence) -> Iterator[Violation]:
    """I3."""
    yield from _check_final_stays(evidence)
    if not evidence.quiesced:
        return
    yield from _check_unknown_ends(evidence)
    yield from _check_intents_end(evidence)
    yield from _check_outcomes_are_true(evidence)


def _check_final_stays(evidence: Evidence) -> Iterator[Violation]:
    """A terminal state changes by an explicit correction only. What one life knew and had not yet written, the next
    may ask again, and must then hear the same."""
    final: dict[str, str] = {}
    this_life: set[str] = set()
    for row in evidence.of_bot("order_state", "order_correction", "crash", "start"):
        if row["kind"] in ("crash", "start"):
            this_life.clear()
            continue
        client_order_id, state = str(row["client_order_id"]), row.get("state")
        if row["kind"] == "order_correction":
            final.pop(client_order_id, None)
            continue
        known = final.get(client_order_id)
        if known in NOT_TAKEN and state in NOT_TAKEN and client_order_id not in this_life:
            continue  # the venue keeps no order that it refused: who asks again hears that there is none
        if known is not None and state != known and (state in TERMINAL or client_order_id in this_life):
            yield Violation("I3", row["t"], f"{client_order_id} was {known} and became {state} without a correction")
        if state in TERMINAL:
            final[client_order_id] = str(state)
            this_life.add(client_order_id)


def _check_unknown_ends(evidence: Evidence) -> Iterator[Violation]:
    """Only what lies in the quiet time counts: before, a venue may have been out of reach."""
    quiet_from = evidence.end_s - QUIET_S
    since: dict[str, float] = {}
    for row in evidence.of_bot("order_state"):
        client_order_id, t = str(row["client_order_id"]), float(row["t"])
        if row["state"] == "UNKNOWN":
            since.setdefault(client_order_id, max(t, quiet_from))
            continue
        began = since.pop(client_order_id, None)
        if began is not None and t - began > UNKNOWN_S_MAX:
            yield Violation("I3", t, f"{client_order_id} was UNKNOWN for {t - began:g} s")
    for client_order_id, began in since.items():
        if evidence.end_s - began > UNKNOWN_S_MAX:
            yield Violation("I3", evidence.end_s, f"{client_order_id} is UNKNOWN since {began:g}")


def _check_intents_end(evidence: Evidence) -> Iterator[Violation]:
    rows = evidence.real(evidence.ledger.orders)
    with_orders = {str(row["intent_id"]) for row in rows}
    for intent in evidence.real(evidence.ledger.intents):
        if str(intent["id"]) not in with_orders:
            yield Violation("I3", evidence.end_s, f"intent {intent['id']} has no order")
    for row in rows:
        if row["state"] not in TERMINAL:
            yield Violation("I3", evidence.end_s, f"{row['client_order_id']} ended as {row['state']}")
    for client_order_id, count in Counter(str(row["client_order_id"]) for row in rows).items():
        if count > 1:
            yield Violation("I3", evidence.end_s, f"{client_order_id} has {count} rows in the ledger")


def _check_outcomes_are_true(evidence: Evidence) -> Iterator[Violation]:
    """What the ledger says became of an order is what the venue says."""
    filled: dict[str, Decimal] = {}
    at_venue: set[str] = set()
    for end in evidence.venues.values():
        at_venue |= {str(order["client_order_id"]) for order in end.orders}
        for trade in end.trades:
            client_order_id = str(trade["client_order_id"])
            filled[client_order_id] = filled.get(client_order_id, ZERO) + number(trade["qty"])
    for row in evidence.real(evidence.ledger.orders):
        client_order_id = str(row["client_order_id"])
        told = _contradiction(row, filled.get(client_order_id, ZERO), client_order_id in at_venue)
        if told is not None:
            yield Violation("I3", evidence.end_s, f"{client_order_id} is {row['state']} in the ledger, but {told}")


def _contradiction(row: Row, filled: Decimal, at_venue: bool) -> str | None:
    state, qty = row["state"], number(row["qty"])
    if state == "NEVER_SENT" and at_venue:
        return "the venue has it"
    right = {
        "FILLED": filled == qty,
        "PARTIAL": ZERO < filled < qty,
        "CANCELED": not filled,
        "REJECTED": not filled,
        "NEVER_SENT": not filled,
    }.get(state, True)
    return None if right else f"{filled} of {qty} filled at the venue"


def check_write_ahead(evidence: Evidence) -> Iterator[Violation]:
    """I4: the intent was durable before the bot wrote, and before the venue read, and what left was what it said."""
    committed: dict[str, str] = {}
    sent: dict[str, Row] = {}
    for row in evidence.rows:
        client_order_id = str(row.get("client_order_id"))
        at = (row["who"], row["kind"])
        if at == ("bot", "intent_committed"):
            committed.update({str(each): str(row["intent_id"]) for each in row["client_order_ids"]})
        elif at == ("bot", "order_send"):
            sent[client_order_id] = row
            if client_order_id not in committed:
                yield Violation("I4", row["t"], f"{client_order_id} was sent before an intent with it was durable")
        elif at == ("venue", "order") and evidence.is_ours(client_order_id):
            if client_order_id not in committed:
                yield Violation("I4", row["t"], f"{row['venue']} got {client_order_id}, which no durable intent has")
            if client_order_id in sent:
                yield from _check_same(sent[client_order_id], row)


def _check_same(sent: Row, got: Row) -> Iterator[Violation]:
    same = sent["venue"] == got["venue"] and sent["side"] == got["side"]
    same = same and number(sent["qty"]) == number(got["qty"])
    if sent.get("price") is not None and got.get("price") is not None:
        same = same and number(sent["price"]) == number(got["price"])
    if not same:
        yield Violation("I4", got["t"], f"{got['client_order_id']} reached the venue as another order than was sent")


def check_ids(evidence: Evidence) -> Iterator[Violation]:
    """I5: legal, unique over all restarts, and no order reached a venue twice."""
    sent: set[str] = set()
    got: set[tuple[str, str]] = set()
    for row in evidence.rows:
        client_order_id = str(row.get("client_order_id"))
        if (row["who"], row["kind"]) == ("bot", "order_send"):
            if not _LEGAL_ID.fullmatch(client_order_id):
                yield Violation("I5", row["t"], f"{client_order_id!r} is no legal id")
            if client_order_id in sent:
                yield Violation("I5", row["t"], f"{client_order_id} was sent twice")
            sent.add(client_order_id)
    for row in evidence.of_venues("order"):
        key = (str(row["venue"]), str(row["client_order_id"]))
        if key in got:
            yield Violation("I5", row["t"], f"{key[0]} got {key[1]} twice")
        got.add(key)
    for venue, end in evidence.venues.items():
        ids = Counter(str(order["client_order_id"]) for order in end.orders)
        for client_order_id, count in ids.items():
            if count > 1 and evidence.is_ours(client_order_id):
                yield Violation("I5", evidence.end_s, f"{venue} accepted {count} orders with the id {client_order_id}")
