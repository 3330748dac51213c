"""I12 and I13: what an order was sent on: books in sync, uncrossed, fresh, and true.

The bot says with each order what its books said (`order_send`: `seen`). What the venues' books truly were comes from
the market itself, before any fault touched a frame on its way.
"""

from __future__ import annotations

from collections.abc import Iterator

from propbot.simulate.oracle.evidence import Evidence, Row, Violation, number

ON_THE_WAY_S = 0.1
"""From the venue's book to ours, at most, where nothing is wrong; what lies longer has aged."""
_BOTH_BOOKS = ("open", "close")


def _sights(row: Row) -> Iterator[tuple[str, Row]]:
    """The books that this order was sent on. An order that only undoes needs its own venue's."""
    seen = row.get("seen") or {}
    for venue, sight in seen.items():
        if row["purpose"] in _BOTH_BOOKS or venue == row["venue"]:
            yield str(venue), sight


def check_freshness(evidence: Evidence) -> Iterator[Violation]:
    """I12."""
    age_s_max = evidence.limits.book_age_s
    for row in evidence.of_bot("order_send"):
        name = f"{row['purpose']} order {row['client_order_id']}"
        if "seen" in row and not any(True for _ in _sights(row)):
            yield Violation("I12", row["t"], f"{name} cites no book")
        for venue, sight in _sights(row):
            age_s = sight["age_s"]
            if not sight["synced"]:
                yield Violation("I12", row["t"], f"{name}: the book of {venue} was not in sync")
            elif sight["crossed"] or not number(sight["bid"]) < number(sight["ask"]):
                yield Violation("I12", row["t"], f"{name}: the book of {venue} was crossed")
            elif age_s is None or age_s > age_s_max:
                yield Violation("I12", row["t"], f"{name}: no frame of {venue} for {age_s} s")


def check_book_truth(evidence: Evidence) -> Iterator[Violation]:
    """I13."""
    for row in evidence.of_bot("order_send"):
        for venue, sight in _sights(row):
            if sight["bid"] is None or not evidence.tops:
                continue
            true = evidence.tops.get((venue, int(sight["u"])))
            name = f"order {row['client_order_id']} was sent on {venue} {sight['u']}"
            if true is None:
                yield Violation("I13", row["t"], f"{name}, a book that the venue never had")
                continue
            t, bid, ask = true
            if (number(bid), number(ask)) != (number(sight["bid"]), number(sight["ask"])):
                told = f"{sight['bid']}/{sight['ask']}, the venue's was {bid}/{ask}"
                yield Violation("I13", row["t"], f"{name}: its top was {told}")
            elif row["t"] - t > evidence.limits.book_age_s + ON_THE_WAY_S:
                yield Violation("I13", row["t"], f"{name}, which was {row['t'] - t:g} s old at the venue")
