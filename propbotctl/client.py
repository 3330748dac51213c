"""One request, one answer, or a Failure that says what to do. httpx is imported here alone, so that --help is quick."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from propbotctl.failures import Failure, Misused, Unauthorised, Unreachable

TIMEOUT_S = 10.0
LOOPBACK = ("127.0.0.1", "localhost", "::1")

Json = dict[str, Any]


def call(
    method: str,
    base_url: str,
    path: str,
    *,
    token: str | None,
    ca_file: str | None,
    params: Mapping[str, Any] | None = None,
    body: Json | None = None,
    timeout_s: float = TIMEOUT_S,
) -> tuple[int, Json]:
    """Status (2xx) and body; Failure for everything else."""
    headers = {} if token is None else {b"Authorization": b"Bearer " + _sendable(token)}
    if "@" in urlsplit(base_url).netloc:  # httpx would send that instead of the token, and errors would show it
        raise Misused("--base-url: no user and password belong in it", "the token: API_TOKEN, or --token")
    try:
        with httpx.Client(verify=_tls(ca_file), timeout=timeout_s, trust_env=_may_use_proxy(base_url)) as client:
            answer = client.request(method, base_url.rstrip("/") + path, params=params, json=body, headers=headers)
    except httpx.InvalidURL as error:
        raise Misused(f"--base-url {base_url}: {error}") from None
    except httpx.TransportError as error:
        raise _unreachable(base_url, method, error) from None
    return _read(answer, base_url, token)


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
    return urlsplit(base_url).hostname not in LOOPBACK


def _unreachable(base_url: str, method: str, error: httpx.TransportError) -> Failure:
    why = str(error) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in why:
        return Unreachable(f"{base_url}: {why}", "if the certificate is your own: --ca-file FILE")
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
    steps = [f"{name}: {why}" for name, why in dict(error.get("fields") or {}).items()]
    steps += [str(reason) for reason in body.get("reasons") or []]
    steps = [step for step in steps if step not in message]  # said once is enough
    if body.get("hold") == "entered":
        steps.append("the HOLD itself took effect")
    return Failure(message, *steps)
