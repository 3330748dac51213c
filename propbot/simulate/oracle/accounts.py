"""I6, I7, I8: fills, positions and cash, the ledger's against the venue's, and the venue's against its own trades."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

from attrs import define

from propbot.simulate.oracle.evidence import Evidence, Row, VenueEnd, Violation, fill_key, number, signed_qty
from propbot.simulate.oracle.modes import final_hold

ZERO = Decimal(0)
ASSET_STEP = Fraction(1, 10**8)
RECON_GRACE_S = 5.0
"""A trade so young may have come after the answers that a reconciliation compares."""
_OPEN_AT_VENUE = frozenset({"NEW", "PARTIALLY_FILLED"})
_MAYBE_OPEN = frozenset({"SENT", "WORKING", "UNKNOWN"})


def _identity(venue: str, row: Row) -> tuple[Any, ...]:
    amounts = tuple(number(row[name]) for name in ("qty", "price", "fee"))
    return (*fill_key(venue, row), row["side"], *amounts, row["fee_asset"])


def check_fills(evidence: Evidence) -> Iterator[Violation]:
    """I6."""
    booked = evidence.real(evidence.ledger.fills)
    keys = Counter(fill_key(str(row["venue"]), row) for row in booked)
    for key, count in keys.items():
        if count > 1:
            yield Violation("I6", evidence.end_s, f"fill {key} is booked {count} times")
    if not evidence.quiesced:
        return
    ledger = Counter(_identity(str(row["venue"]), row) for row in booked)
    venues = Counter(
        _identity(venue, trade)
        for venue, end in evidence.venues.items()
        for trade in end.trades
        if evidence.is_ours(trade["client_order_id"])
    )
    for fill in ledger - venues:
        if keys[fill[:4]] == 1:
            yield Violation("I6", evidence.end_s, f"booked, but not what the venue has: {_plain(fill)}")
    for fill in venues - ledger:
        yield Violation("I6", evidence.end_s, f"at the venue, but not what is booked: {_plain(fill)}")


def _plain(fill: tuple[Any, ...]) -> str:
    return " ".join(str(part) for part in fill)


def check_recon(evidence: Evidence) -> Iterator[Violation]:
    """I7."""
    yield from _check_claims(evidence)
    if not evidence.quiesced:
        return
    differences = [told for venue in evidence.venues for told in _differences(evidence, venue)]
    named = any("recon" in text for text in final_hold(evidence))
    if differences and not named:
        yield Violation("I7", evidence.end_s, f"no HOLD by recon, and {'; '.join(differences)}")


def _differences(evidence: Evidence, venue: str) -> Iterator[str]:
    end = evidence.venues[venue]
    booked = number(evidence.ledger.baselines.get((venue, end.base), ZERO))
    for row in evidence.real(evidence.ledger.fills):
        if row["venue"] == venue:
            booked += evidence.base_change(venue, row)
    held = number(end.balances.get(end.base, ZERO) if end.kind == "spot" else end.position)
    if booked != held:
        yield f"{venue} {end.symbol}: ledger {booked}, venue {held}"
    ledger_open = {
        str(row["client_order_id"])
        for row in evidence.real(evidence.ledger.orders)
        if row["venue"] == venue and row["state"] in _MAYBE_OPEN
    }
    venue_open = {
        str(order["client_order_id"])
        for order in end.orders
        if order["status"] in _OPEN_AT_VENUE and evidence.is_ours(order["client_order_id"])
    }
    if ledger_open != venue_open:
        yield f"{venue}: open orders {sorted(ledger_open)} in the ledger, {sorted(venue_open)} at the venue"


def _check_claims(evidence: Evidence) -> Iterator[Violation]:
    """Whoever says "agrees" while a trade of some age is in nobody's books is wrong, HOLD or not."""
    traced = {fill_key(str(row["venue"]), row) for row in evidence.of_bot("fill_booked")}
    # booked by a life that was killed before it could say so: since when is not known, so it counts from the start
    in_books = {fill_key(str(row["venue"]), row) for row in evidence.ledger.fills} - traced
    waiting: dict[tuple[str, str, str, str], float] = {}
    for row in evidence.rows:
        at = (row["who"], row["kind"])
        if at == ("bot", "fill_booked"):
            in_books.add(fill_key(str(row["venue"]), row))
            waiting.pop(fill_key(str(row["venue"]), row), None)
        elif at == ("venue", "trade"):
            key = fill_key(str(row["venue"]), {"symbol": evidence.venues[row["venue"]].symbol, **row})
            if key not in in_books:
                waiting[key] = row["t"]
        elif at == ("bot", "baseline"):
            waiting = {key: t for key, t in waiting.items() if key[0] != row["venue"]}
        elif at == ("bot", "recon") and row["agrees"]:
            for key, t in waiting.items():
                if key[0] == row["venue"] and row["t"] - t > RECON_GRACE_S:
                    yield Violation("I7", row["t"], f"recon says that {key[0]} agrees; trade {key[3]} is not booked")


@define
class _Perp:
    """Average cost, exact. The venue rounds what a partial close takes of the cost to eight digits."""

    qty: Fraction = Fraction(0)
    cost: Fraction = Fraction(0)
    """Signed as `qty`."""
    wallet: Fraction = Fraction(0)
    rounded: int = 0

    def trade(self, qty: Fraction, price: Fraction) -> None:
        closing = Fraction(0)
        if self.qty * qty < 0:
            closing = qty if abs(qty) <= abs(self.qty) else -self.qty
        cost_out = self.cost * -closing / self.qty if closing else Fraction(0)
        self.rounded += closing not in (0, -self.qty)
        self.wallet += -closing * price - cost_out
        self.cost += (qty - closing) * price - cost_out
        self.qty += qty


def check_cash(evidence: Evidence) -> Iterator[Violation]:
    """I8, on all of the account's trades, foreign ones too; and that the ledger has the venues' funding."""
    for venue, end in evidence.venues.items():
        changes, tolerance = _spot_changes(end) if end.kind == "spot" else _perp_changes(end)
        for asset in sorted(changes.keys() | end.balances.keys() | end.starting_balances.keys()):
            start = Fraction(number(end.starting_balances.get(asset, ZERO)))
            due = start + changes.get(asset, Fraction(0)) + _adjusted(evidence, venue, asset)
            has = Fraction(number(end.balances.get(asset, ZERO)))
            if abs(due - has) > tolerance:
                text = f"{venue} has {float(has)!r} {asset}, its trades make {float(due)!r}"
                yield Violation("I8", evidence.end_s, text)
        if not any(True for _ in _faults(evidence, venue, "fee_asset")):
            yield from _check_fee_assets(evidence, venue, end)
    if evidence.quiesced:
        yield from _check_funding(evidence)


def _faults(evidence: Evidence, venue: str, name: str) -> Iterator[Row]:
    for row in evidence.rows:
        if (row["who"], row["kind"], row.get("fault")) == ("venue", "fault", name) and row["venue"] == venue:
            yield row


def _adjusted(evidence: Evidence, venue: str, asset: str) -> Fraction:
    """What the venue itself gave or took, without any trade."""
    given = (row["params"] for row in _faults(evidence, venue, "adjust_account") if row["what"] == "injected")
    return sum((Fraction(number(each["amount"])) for each in given if each["asset"] == asset), Fraction(0))


def _spot_changes(end: VenueEnd) -> tuple[dict[str, Fraction], Fraction]:
    changes = {end.base: Fraction(0), end.quote: Fraction(0)}
    for trade in end.trades:
        qty = Fraction(signed_qty(trade))
        changes[end.base] += qty
        changes[end.quote] -= qty * Fraction(number(trade["price"]))
        asset = str(trade["fee_asset"])
        changes[asset] = changes.get(asset, Fraction(0)) - Fraction(number(trade["fee"]))
    return changes, ASSET_STEP


def _perp_changes(end: VenueEnd) -> tuple[dict[str, Fraction], Fraction]:
    account = _Perp()
    changes = {end.quote: Fraction(0)}
    for trade in end.trades:
        account.trade(Fraction(signed_qty(trade)), Fraction(number(trade["price"])))
        asset = str(trade["fee_asset"])
        changes[asset] = changes.get(asset, Fraction(0)) - Fraction(number(trade["fee"]))
    for payment in end.fundings:
        asset = str(payment["asset"])
        changes[asset] = changes.get(asset, Fraction(0)) + Fraction(number(payment["amount"]))
    changes[end.quote] += account.wallet
    return changes, ASSET_STEP * (1 + account.rounded)


def _check_fee_assets(evidence: Evidence, venue: str, end: VenueEnd) -> Iterator[Violation]:
    for trade in end.trades:
        received = end.base if end.kind == "spot" and trade["side"] == "BUY" else end.quote
        if trade["fee_asset"] != received and number(trade["fee"]):
            text = f"{venue} took the fee of trade {trade['trade_id']} in {trade['fee_asset']}, received was {received}"
            yield Violation("I8", evidence.end_s, text)


def _check_funding(evidence: Evidence) -> Iterator[Violation]:
    def payments(venue: str, rows: Any) -> Counter[tuple[str, str, Decimal]]:
        return Counter((venue, str(row["asset"]), number(row["amount"])) for row in rows)

    for venue, end in evidence.venues.items():
        ours = payments(venue, [row for row in evidence.ledger.funding if row["venue"] == venue])
        if ours != payments(venue, end.fundings):
            yield Violation("I8", evidence.end_s, f"{venue}: the ledger's funding is not the venue's")
