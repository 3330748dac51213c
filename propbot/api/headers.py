"""The headers of every answer, also of those that the server gives to what never became a request.

A browser is told to trust nothing but what is served here: no script, style or image from elsewhere, no frame around
our pages, no guess at a type, no address of ours in anybody's log, and nothing kept.
"""

from __future__ import annotations

from collections.abc import Iterable

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"
)
HARDENING: tuple[tuple[bytes, bytes], ...] = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
STRICT_TRANSPORT = (b"strict-transport-security", b"max-age=31536000")
"""Only where TLS is spoken, by us or by the proxy in front: a browser holds an address to it for a year."""


def hardened(headers: Iterable[tuple[bytes, bytes]], *, tls: bool) -> list[tuple[bytes, bytes]]:
    """`headers`, and those of the house that they do not set themselves."""
    given = list(headers)
    names = {name.lower() for name, _ in given}
    house = (*HARDENING, STRICT_TRANSPORT) if tls else HARDENING
    return [*given, *(each for each in house if each[0] not in names)]
