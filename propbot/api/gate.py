"""The gate before the framework: which Host is answered, who asks, and what every answer carries.

An ASGI application around the real one. What nobody's token asks for is refused here, in a tenth of the time that the
framework takes to say the same: while it works, no tick is looked at. Roles and all the rest are `auth`'s.

A page of another site can have its own name resolve to our address (DNS rebinding), and its browser then asks here as
if at home. The Host header still has that name. So names have to be listed; addresses, localhost and names without a
dot are nobody's to rebind. Without any token the loopback address is all that protects: then nothing else is answered.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from attrs import frozen
from quart import Quart
from werkzeug.exceptions import HTTPException

from propbot.api.auth import ASKING, Auth
from propbot.api.headers import hardened
from propbot.api.replies import BODY_BYTES_MAX, ApiError, error_content

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

READS = ("GET", "HEAD")
"""What an open path is open for. Not for OPTIONS, which the framework answers by itself and no endpoint ever sees."""
FORWARDED_BYTES_MAX = 1024
STRANGERS_AT_ONCE_MAX = 20
"""A browser asks for six at once. Swagger's script has 1.4 MB, and whoever takes none of it keeps it in our memory."""
LABEL_MAX = 63
"""Characters of a name without a dot (RFC 1035); the framework fails at a longer one."""
_LOOPBACK_HOST = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)
_NAMED_HOST = re.compile(r"([a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_-]+)*)\.?(:[0-9]{1,5})?", re.IGNORECASE)
_FORWARDED = re.compile(r"\[(?P<v6>[0-9a-fA-F:.]+)\](:[0-9]{1,5})?|(?P<v4>[0-9.]+):[0-9]{1,5}")
_ADDRESS_HOST = re.compile(r"([0-9.]+|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?")


@frozen
class Door:
    """What stands before the API."""

    hosts: frozenset[str] = frozenset()
    """Names that it may be asked by, in small letters."""
    proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    """Whose X-Forwarded-For is believed."""
    tls: bool = False
    """TLS is spoken, here or by a proxy."""

    def knows(self, host: str) -> bool:
        """Whether this Host is one that nobody can have rebound. An absent one is a tool's, never a browser's."""
        if host == "" or _is_address(host):
            return True
        named = _NAMED_HOST.fullmatch(host)
        if named is None:
            return False
        name = named[1].lower()
        return name in self.hosts or ("." not in name and len(name) <= LABEL_MAX)

    def address_of(self, peer: str, forwarded: str) -> str:
        """Who asks: the peer, or whom the nearest proxies that are not ours say they speak for."""
        address = _without_port(peer)
        for each in reversed(forwarded[-FORWARDED_BYTES_MAX:].split(",") if forwarded else ()):
            if not self._is_proxy(address):
                break
            address = _without_port(each.strip())
        return address

    def _is_proxy(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self.proxies)


def _without_port(address: str) -> str:
    """Some proxies say a port as well, and each connection would count as an address of its own. An IPv4 address that
    a socket of IPv6 wraps is that address."""
    found = _FORWARDED.fullmatch(address)
    try:
        plain = ipaddress.ip_address(found["v6"] or found["v4"] if found is not None else address)
    except ValueError:
        return address
    mapped = plain.ipv4_mapped if isinstance(plain, ipaddress.IPv6Address) else None
    return str(mapped or plain)


def _is_address(host: str) -> bool:
    found = _ADDRESS_HOST.fullmatch(host)
    if found is None:
        return False
    try:
        ipaddress.ip_address(found[1].strip("[]"))
    except ValueError:
        return False
    return True


def install_gate(
    app: Quart, auth: Auth, door: Door, *, open_endpoints: Collection[str],
    other_keys: Mapping[str, Callable[[str | None], bool]],
) -> None:
    """From now on everything that asks `app` passes here first, also what asks for a path that does not exist.
    `other_keys` says of an endpoint whether an Authorization that is no person's opens it, for reading."""
    inner: Asgi = app.asgi_app  # type: ignore[assignment]
    strangers: Counter[str] = Counter()
    """How many answers are on their way to those who showed no token, by address."""
    paths = app.url_map.bind("")

    def is_open(scope: Scope, authorization: str | None) -> bool:
        if scope["method"] not in READS:
            return False
        try:
            endpoint, _ = paths.match(scope["path"], method=scope["method"])
        except HTTPException:
            return False
        opens = other_keys.get(endpoint)
        return endpoint in open_endpoints or (opens is not None and opens(authorization))

    def admit(scope: Scope) -> str | None:
        """ApiError if it is not answered. Who asks is left in the scope, for `auth`; of a stranger the address is
        returned."""
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get(b"host", "")
        if auth.off:
            if not _LOOPBACK_HOST.fullmatch(host):
                raise ApiError(400, "without a token only Host localhost, 127.0.0.1 or [::1] is answered")
        elif not door.knows(host):
            raise ApiError(400, "this Host is not known here: name it in API_ALLOWED_HOSTS")
        authorization = headers.get(b"authorization")
        peer = (scope.get("client") or ("",))[0]
        address = door.address_of(peer, headers.get(b"x-forwarded-for", ""))
        if not is_open(scope, authorization):
            scope[ASKING] = auth.identify(authorization, address)
            return None
        if strangers[address] >= STRANGERS_AT_ONCE_MAX:
            raise ApiError(429, "too many answers without a token are on their way to this address: take those first")
        return address

    async def gate(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_hardened(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": hardened(message.get("headers", ()), tls=door.tls)}
            await send(message)

        if scope["type"] != "http":
            await inner(scope, receive, send)
            return
        try:
            stranger = admit(scope)
        except ApiError as error:
            await _refuse(error, send_hardened)
            return
        if stranger is None:
            await inner(scope, bounded(receive), send_hardened)
            return
        strangers[stranger] += 1
        try:
            await inner(scope, bounded(receive), send_hardened)
        finally:
            strangers[stranger] -= 1
            if not strangers[stranger]:
                del strangers[stranger]

    app.asgi_app = gate  # type: ignore[assignment, method-assign]


def bounded(receive: Receive) -> Receive:
    """A body that is too large ends one byte after its bound: the framework refuses that. Left to itself the one for
    Python 3.13 (quart 0.23, quart-trio 0.13) keeps whatever comes, for as long as it comes."""
    left = BODY_BYTES_MAX + 1

    async def receive_bounded() -> Any:
        nonlocal left
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return message
            if not left:
                continue  # until the client has read the refusal, or goes away
            body = message.get("body", b"")[:left]
            left -= len(body)
            return message if left else {**message, "body": body, "more_body": False}

    return receive_bounded


async def _refuse(error: ApiError, send: Send) -> None:
    """Without a look at the body; the server ends a connection whose request was not read to its end."""
    body = error_content(error)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    headers += [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
