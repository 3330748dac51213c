"""Request parameters as Binance reads them: text in, checked values out, the venue's own error for everything else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import TypeVar
from urllib.parse import parse_qsl

from propbot.domain.orders import Side
from propbot.simvenue.faces.errors import ApiError, bad_value, illegal, missing

T = TypeVar("T")

_AMOUNT = r"^([0-9]{1,20})(\.[0-9]{1,20})?$"
_WHOLE = r"^[0-9]{1,20}$"
_CLIENT_ORDER_ID = r"^[\.A-Z\:/a-z0-9_-]{1,36}$"


class Params:
    """The parameters of one request. An empty value counts as not sent."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = {name: value for name, value in values.items() if value}

    @classmethod
    def of(cls, query: str, body: bytes) -> Params:
        """From query and form body; what stands in both is taken from the query."""
        form = dict(parse_qsl(body.decode("latin-1"), keep_blank_values=True))
        return cls({**form, **dict(parse_qsl(query, keep_blank_values=True))})

    def get(self, name: str) -> str | None:
        return self._values.get(name)

    def text(self, name: str) -> str:
        value = self._values.get(name)
        if value is None:
            raise missing(name)
        return value

    def whole(self, name: str) -> int | None:
        """An integer of 0 or more, None if it was not sent."""
        value = self._values.get(name)
        if value is None:
            return None
        if not re.fullmatch(_WHOLE, value, re.ASCII):
            raise illegal(name, _WHOLE)
        return int(value)

    def limit(self, default: int, most: int) -> int:
        """`limit` within 1..`most`; more than that is taken as `most`, as the venues do."""
        asked = self.whole("limit")
        if asked is None:
            return default
        if asked == 0:
            raise bad_value("limit")
        return min(asked, most)

    def amount(self, name: str) -> Decimal | None:
        value = self._values.get(name)
        if value is None:
            return None
        if not re.fullmatch(_AMOUNT, value, re.ASCII):
            raise illegal(name, _AMOUNT)
        return Decimal(value)

    def flag(self, name: str) -> bool:
        value = self._values.get(name, "false").lower()
        if value not in ("true", "false"):
            raise bad_value(name)
        return value == "true"

    def choice(self, name: str, choices: Mapping[str, T], error: ApiError) -> T:
        value = self.text(name)
        if value not in choices:
            raise error
        return choices[value]

    def has_time(self, ts_ms: int) -> bool:
        """Whether `ts_ms` lies between `startTime` and `endTime`, as far as they were sent."""
        first_ms, last_ms = self.whole("startTime"), self.whole("endTime")
        return (first_ms is None or ts_ms >= first_ms) and (last_ms is None or ts_ms <= last_ms)

    def side(self) -> Side:
        return self.choice("side", Side.__members__, ApiError(400, -1117, "Invalid side."))

    def client_order_id(self, name: str, error: ApiError | None = None) -> str | None:
        value = self._values.get(name)
        if value is not None and not re.fullmatch(_CLIENT_ORDER_ID, value, re.ASCII):
            raise error or illegal(name, _CLIENT_ORDER_ID)
        return value


def check_precision(amount: Decimal | None, digits: int) -> None:
    """More digits behind the point than the venue knows are -1111, before any filter is asked."""
    exponent = 0 if amount is None else amount.normalize().as_tuple().exponent
    if isinstance(exponent, int) and -exponent > digits:
        raise ApiError(400, -1111, "Precision is over the maximum defined for this asset.")
