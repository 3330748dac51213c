"""One request, one answer, or a Failure that says what to do. httpx is imported here alone, so that --help is quick.

`ask` reads an answer whole; `open_stream` hands out its bytes as they come, for exports and live views.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from propbotctl.answers import Refused, misfit, shape_of
from propbotctl.failures import (
    Conflicting,
    Failure,
    Foreign,
    Held,
    Misused,
    NotNow,
    NotThere,
    Unauthorised,
    Unreachable,
    Unusable,
)
from propbotctl.options import is_loopback

TIMEOUT_S = 10.0
EVENT_STREAM = "/api/ui/stream"
CHECK_IT = "check API_TOKEN (or --token)"
LOOK_AFTER = {
    "/api/ui/secret": "propbotctl secrets", "/api/ui/incidents": "propbotctl incidents",
    "/api/ui/approvals": "propbotctl approvals list", "/api/ui/baseline": "propbotctl events",
}
"""By the path's beginning: what shows whether a change took effect. `propbotctl status` for all others."""

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
    uncertain = [] if method == "GET" else [f"whether it took effect is not known: look with `{_look_after(path)}`"]
    with _failures(base_url, uncertain), _open_client(base_url, ca_file, timeout_s) as client:
        began = time.monotonic()
        answer = client.request(method, base_url.rstrip("/") + path, params=params, json=body, headers=headers)
        took_s = time.monotonic() - began
    found = _parsed(answer)
    if not answer.is_success:
        raise _refused(answer, found, base_url, token, uncertain)
    wrong = misfit(found, shape_of(method, path, answer.status_code))
    if wrong is not None:
        raise _foreign(answer, base_url, wrong, uncertain)
    return Answer(answer.status_code, found, answer.headers.get("Date", ""), took_s)


def _look_after(path: str) -> str:
    return next((look for begin, look in LOOK_AFTER.items() if path.startswith(begin)), "propbotctl status")


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
        _failures(base_url, ()),
        _open_client(base_url, ca_file, timeout_s) as client,
        client.stream("GET", base_url.rstrip("/") + path, params=params, headers=headers) as answer,
    ):
        if not answer.is_success:
            answer.read()
            failure = _refused(answer, _parsed(answer), base_url, token, ())
            if answer.status_code == 429 and path == EVENT_STREAM:  # who follows has been let in: too many streams
                raise NotNow(failure.message)
            raise failure
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
def _failures(base_url: str, uncertain: Sequence[str]) -> Iterator[None]:
    """`uncertain` is what a changing command says where its answer is missing."""
    try:
        yield
    except httpx.InvalidURL as error:
        raise Misused(f"--base-url {base_url}: {error}") from None
    except httpx.DecodingError as error:
        raise Foreign(f"{base_url} answered with something that is not PropBot's: {error}", *uncertain) from None
    except httpx.TransportError as error:
        raise _unreachable(base_url, uncertain, error) from None
    except KeyboardInterrupt:
        if not uncertain:
            raise
        raise Failure("interrupted before the answer came", *uncertain) from None


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


def _unreachable(base_url: str, uncertain: Sequence[str], error: httpx.TransportError) -> Failure:
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
    return Unreachable(f"no answer from {base_url}: {why}", "is it PropBot that runs at that URL?", *uncertain)


def _parsed(answer: httpx.Response) -> Any:
    """None for what is no JSON."""
    try:
        return json.loads(answer.content, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _foreign(answer: httpx.Response, base_url: str, why: str, uncertain: Sequence[str]) -> Failure:
    status, elsewhere = answer.status_code, answer.headers.get("Location")
    told = f"a redirect to {elsewhere}, which is not PropBot's" if elsewhere else "something that is not PropBot's"
    return Foreign(f"{base_url} answered {status} with {told}{f' ({why})' if why else ''}", *uncertain)


def _details(message: str, found: Mapping[str, Any]) -> list[str]:
    """What the message does not have already: said once is enough."""
    fields = dict(found["error"].get("fields") or {})
    said = [f"{name}: {why}" for name, why in fields.items() if name not in message or why not in message]
    return [*said, *(each for each in found.get("reasons") or [] if each not in message)]


def _held(status: int, message: str, found: Mapping[str, Any], uncertain: Sequence[str]) -> Held:
    why = message.removeprefix("nothing was changed: ")  # it was: the mode
    if status == 503:
        return Held(f"but {why}", found, *uncertain)
    return Held(f"the rest was refused: {why}", found, *_details(message, found))


def _wait(answer: httpx.Response) -> str:
    wait_s = answer.headers.get("Retry-After", "")
    return f"try again in {wait_s} s" if wait_s.isdecimal() else "try again in a minute"


def _refused(
    answer: httpx.Response, found: Any, base_url: str, token: str | None, uncertain: Sequence[str]
) -> Failure:
    status = answer.status_code
    if isinstance(found, dict) and status == 503 and isinstance(found.get("reasons"), list):
        return NotNow("; ".join(map(str, found["reasons"])))  # how the health and readiness routes say no
    if not answer.is_error or misfit(found, Refused) is not None:
        return _foreign(answer, base_url, "", uncertain)
    error = found["error"]
    message = str(error["message"])
    if found.get("hold") == "entered":
        return _held(status, message, found, uncertain)
    if status == 401:
        step = "set API_TOKEN, or give --token" if token is None else CHECK_IT
        return Unauthorised(message, step)
    if status == 404:
        return NotThere(message)
    if status == 429:
        return Unauthorised(message, f"a valid token is never refused: {CHECK_IT}", _wait(answer))
    if status == 503:
        return NotNow(message)
    steps = _details(message, found)
    return {409: Conflicting, 422: Unusable}.get(status, Failure)(message, *steps)
