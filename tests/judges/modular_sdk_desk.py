"""Binance's own modular SDKs pointed at the embedded venues: hosts through their public configuration, the CA through
the environment, nothing else changed.

They read every answer into typed models. Where one does not fit they only log it and hand out something looser; here
such a line is a complaint, which fails the check (`verdicts.judge`).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

from binance_common.configuration import (
    ConfigurationRestAPI,
    ConfigurationWebSocketAPI,
    ConfigurationWebSocketStreams,
)
from binance_common.errors import BadRequestError
from verdicts import amount

_COMPLAINTS = ("did not match the declared types", "Failed to parse", "Unknown user data event", "Error in callback")


class Complaints(logging.Handler):
    """Gathers what the SDK says of answers that it could not read as declared."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if any(text in message for text in _COMPLAINTS):
            self.heard.append(message)


def hear_complaints() -> list[str]:
    """The list that they will stand in."""
    handler = Complaints()
    logging.getLogger().addHandler(handler)
    return handler.heard


def configurations(
    access: Mapping[str, str],
) -> tuple[ConfigurationRestAPI, ConfigurationWebSocketAPI, ConfigurationWebSocketStreams]:
    keys = {"api_key": access["api_key"], "api_secret": access["api_secret"]}
    return (
        ConfigurationRestAPI(**keys, base_path=access["rest"], timeout=5000),
        ConfigurationWebSocketAPI(**keys, stream_url=access["ws_api"]),
        ConfigurationWebSocketStreams(stream_url=access["ws"]),
    )


@contextmanager
def refused(code: int, kind: type[Exception] = BadRequestError, text: str = "") -> Iterator[None]:
    """What is inside must raise the SDK's error of this kind, with the venue's code."""
    try:
        yield
    except kind as refusal:
        assert refusal.status_code == code, (refusal.status_code, str(refusal))
        assert text in str(refusal), str(refusal)
    else:
        raise AssertionError(f"not refused; {code} was due")


async def refused_ws(code: int, asked: Awaitable[Any]) -> None:
    """Over the WebSocket API the SDK hands out errors instead of raising them."""
    data = (await asked).data()
    assert isinstance(data, dict), data
    assert data["error"]["code"] == code, data


def whole(model: Any, *but: str) -> Any:
    """`model`, in which each field that the SDK declares must have come, `but` those that the venue sends at times."""
    absent = {name for name in type(model).model_fields if getattr(model, name) is None} - set(but)
    assert not absent, f"{type(model).__name__} came without {sorted(absent)}"
    return model


def one_of(response: Any) -> Any:
    """What came, where the SDK knows several shapes of an answer."""
    found = response.data().actual_instance
    return found if isinstance(found, list) or not hasattr(found, "root") else found.root


def amounts(model: Any, *names: str) -> tuple[Decimal, ...]:
    return tuple(amount(getattr(model, name)) for name in names)


class Inbox:
    """What a stream's callback was given."""

    def __init__(self) -> None:
        self.messages: list[Any] = []

    def __call__(self, message: Any) -> None:
        self.messages.append(getattr(message, "actual_instance", None) or message)

    def kinds(self, kind: str) -> list[Any]:
        """Those of one model."""
        return [message for message in self.messages if type(message).__name__ == kind]
