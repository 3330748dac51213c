"""One request, one answer, or a Failure that says what to do. httpx is imported here alone, so that --help is quick.

`ask` reads an answer whole; `open_stream` hands out its bytes as they come, for exports and live views.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from propbotctl.failures import Conflicting, Failure, Misused, NotNow, NotThere, Unauthorised, Unreachable
from propbotctl.options import is_loopback

TIMEOUT_S = 10.0

Json = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """A 2xx one: `date` is the server's own word for its time (empty without one), `took_s` the whole round trip."""

    status: int
    body: Json
    date: str
    took_s: float


def ask(
    method: str,
    base_url: str,
    path: str,
    *,
    token: str | None,
    ca_file: str | None,
    params: Mapping[str, Any] | None = None,
    body: Json | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Answer:
    """The answer, or a Failure."""
    headers = _headers(base_url, token)
    with _failures(base_url, method), _open_client(base_url, ca_file, timeout_s) as client:
        began = time.monotonic()
        answer = client.request(method, base_url.rstrip("/") + path, params=params, json=body, headers=headers)
        took_s = time.monotonic() - began
    status, read = _read(answer, base_url, token)
    return Answer(status, read, answer.headers.get("Date", ""), took_s)


@contextmanager
def open_stream(
    base_url: str,
    path: str,
    *,
    token: str | None,
    ca_file: str | None,
    params: Mapping[str, Any] | None = None,
    more_headers: Mapping[str, str] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Iterator[Iterator[bytes]]:
    """The bytes of an answer as they come; `timeout_s` is the longest silence. A Failure also for what breaks later."""
    more = {name.encode(): text.encode() for name, text in (more_headers or {}).items()}
    headers = {**_headers(base_url, token), **more}
    with (
        _failures(base_url, "GET"),
        _open_client(base_url, ca_file, timeout_s) as client,
        client.stream("GET", base_url.rstrip("/") + path, params=params, headers=headers) as answer,
    ):
        if answer.is_error:
            answer.read()
            _read(answer, base_url, token)
        yield answer.iter_bytes()


def _headers(base_url: str, token: str | None) -> dict[bytes, bytes]:
    if "@" in urlsplit(base_url).netloc:  # httpx would send that instead of the token, and errors would show it
        raise Misused("--base-url: no user and password belong in it", "the token: API_TOKEN, or --token")
    return {} if token is None else {b"Authorization": b"Bearer " + _sendable(token)}


def _open_client(base_url: str, ca_file: str | None, timeout_s: float) -> httpx.Client:
    plain = ca_file is None and urlsplit(base_url).scheme == "http"
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if plain else _tls(ca_file)  # trusts nobody, and is quick to make
    return httpx.Client(verify=tls, timeout=timeout_s, trust_env=_may_use_proxy(base_url))


@contextmanager
def _failures(base_url: str, method: str) -> Iterator[None]:
    try:
        yield
    except httpx.InvalidURL as error:
        raise Misused(f"--base-url {base_url}: {error}") from None
    except httpx.TransportError as error:
        raise _unreachable(base_url, method, error) from None


def _sendable(token: str) -> bytes:
    """Without the end of line that it has in a file. What no header can carry is refused here: httpx would show it."""
    bare = token.strip()
    if not bare.isprintable():
        raise Misused("the token has characters that no header can carry", "check API_TOKEN (or --token)")
    return bare.encode()


def _tls(ca_file: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise Misused(f"--ca-file {ca_file}: {error}", "it must be a file of PEM certificates") from None


def _may_use_proxy(base_url: str) -> bool:
    """A proxy in the environment is for what is far away."""
    return not is_loopback(base_url)


def _unreachable(base_url: str, method: str, error: httpx.TransportError) -> Failure:
    why = str(error) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in why:
        return Unreachable(f"{base_url}: {why}", "if the certificate is your own: --ca-file FILE")
    if "WRONG_VERSION_NUMBER" in why:
        return Unreachable(f"{base_url}: no TLS is spoken there", "another port? On this machine itself: http://…")
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.UnsupportedProtocol):
        return Unreachable(
            f"can't reach PropBot at {base_url}: {why}",
            "is it running at that URL? Another one: --base-url URL, or PROPBOT_BASE_URL",
        )
    steps = ["is it PropBot that runs at that URL?"]
    if method != "GET":
        steps.append("whether it took effect is not known: look with `propbotctl status`")
    return Unreachable(f"no answer from {base_url}: {why}", *steps)


def _read(answer: httpx.Response, base_url: str, token: str | None) -> tuple[int, Json]:
    try:
        body = answer.json()
    except ValueError:
        body = None
    if isinstance(body, dict) and answer.status_code == 503 and isinstance(body.get("reasons"), list):
        raise NotNow("; ".join(map(str, body["reasons"])))  # how the health and readiness routes say no
    if not isinstance(body, dict) or (answer.is_error and not isinstance(body.get("error"), dict)):
        raise Failure(
            f"{base_url} answered {answer.status_code} with something that is not PropBot's",
            "is it PropBot that runs at that URL? --base-url URL, or PROPBOT_BASE_URL",
        )
    if answer.is_error:
        raise _refused(answer.status_code, body, token)
    return answer.status_code, body


def _refused(status: int, body: Json, token: str | None) -> Failure:
    error = body["error"]
    message = str(error.get("message", f"refused with {status}"))
    if status == 401:
        step = "set API_TOKEN, or give --token" if token is None else "check API_TOKEN (or --token)"
        return Unauthorised(message, step)
    if status == 404:
        return NotThere(message)
    if status in (429, 503):
        return NotNow(message)
    fields = {name: str(why) for name, why in dict(error.get("fields") or {}).items()}
    steps = [f"{name}: {why}" for name, why in fields.items() if name not in message or why not in message]
    steps += [str(each) for each in body.get("reasons") or [] if str(each) not in message]  # said once is enough
    if body.get("hold") == "entered":
        steps.append("the HOLD itself took effect")
    return Conflicting(message, *steps) if status == 409 else Failure(message, *steps)
