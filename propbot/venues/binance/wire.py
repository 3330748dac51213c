"""Reading what came over the wire: every defect becomes a ProtocolViolation that names venue, message and field.

msgspec decodes into structs that hold only what we use; unknown fields are ignored. What it can't check (a number
in a text, an unknown status) is checked here, so that nothing malformed gets past the dialects.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TypeVar

import msgspec

from propbot.domain.errors import ProtocolViolation
from propbot.domain.instruments import VenueId
from propbot.domain.money import parse_amount

T = TypeVar("T")

_MAGNITUDE_MAX = 30
"""Powers of ten either way: beyond, a "finite" number would print as gigabytes of zeros."""


def decode(decoder: msgspec.json.Decoder[T], payload: str | bytes | msgspec.Raw, venue: VenueId, what: str) -> T:
    """`payload` as the decoder's type; ProtocolViolation naming `what` and the field for anything else."""
    try:
        return decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise ProtocolViolation(venue, f"{what}: {error}") from None
    except RecursionError:
        raise ProtocolViolation(venue, f"{what}: nested too deep") from None


def amount(text: str, venue: VenueId, field: str) -> Decimal:
    """The finite number that `text` spells, of any sign."""
    try:
        number = parse_amount(text)
    except ValueError as error:
        raise ProtocolViolation(venue, f"{field}: {error}") from None
    if abs(number.adjusted()) > _MAGNITUDE_MAX:
        raise ProtocolViolation(venue, f"{field}: out of any range: {text[:40]!r}")
    return number


def amount_not_negative(text: str, venue: VenueId, field: str) -> Decimal:
    number = amount(text, venue, field)
    if number < 0:
        raise ProtocolViolation(venue, f"{field}: negative: {text!r}")
    return number


def amount_positive(text: str, venue: VenueId, field: str) -> Decimal:
    number = amount(text, venue, field)
    if number <= 0:
        raise ProtocolViolation(venue, f"{field}: not above zero: {text!r}")
    return number
