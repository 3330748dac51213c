"""How an account and its key are set up at a venue: what the preflight asks for."""

from __future__ import annotations

from decimal import Decimal

from attrs import frozen


@frozen
class MarginSetup:
    """Of one perp symbol."""

    leverage: Decimal
    isolated: bool
    """Isolated margin: a leg is liquidated though the account could bear it."""


@frozen
class KeyRights:
    """What the key that we sign with may do; None where the venue does not say."""

    withdraw: bool | None
    trade: bool | None
    ip_bound: bool | None
    """Only some addresses may use it."""
