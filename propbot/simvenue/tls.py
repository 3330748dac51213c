"""What a host of embedded venues makes up at its start: a certificate authority for this run, and API keys."""

from __future__ import annotations

import random
import ssl
from pathlib import Path

import trustme

from propbot.domain.instruments import Credentials

LOOPBACK = "127.0.0.1"
ANY_ADDRESS = "0.0.0.0"  # noqa: S104
_KEY_CHARACTERS = 64
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def make_keys(rng: random.Random) -> Credentials:
    """A pair as long as Binance's."""
    key, secret = ("".join(rng.choice(_LETTERS) for _ in range(_KEY_CHARACTERS)) for _ in range(2))
    return Credentials(key, secret)


def make_tls(host: str, ca_file: Path | None) -> ssl.SSLContext:
    """A server's context under a CA of its own: the CA's certificate goes to `ca_file`, its key nowhere."""
    if ca_file is None:
        raise ValueError("TLS needs a ca_file to put the CA's certificate into")
    ca = trustme.CA(organization_name="PropBot embedded venues")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    names = dict.fromkeys((LOOPBACK, "localhost", LOOPBACK if host == ANY_ADDRESS else host))
    ca.issue_cert(*names).configure_cert(context)
    ca_file.parent.mkdir(parents=True, exist_ok=True)
    ca_file.write_bytes(ca.cert_pem.bytes())
    ca_file.chmod(0o644)
    return context
