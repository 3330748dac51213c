"""TLS on the server's side: a certificate and its key, TLS 1.2 or newer, HTTP/1.1 and nothing else."""

from __future__ import annotations

import ssl
from pathlib import Path


def server_tls(cert_file: Path, key_file: Path) -> ssl.SSLContext:
    """OSError (ssl.SSLError is one) or ValueError if the two are no certificate and its key. An encrypted key is
    refused: nobody is there to be asked for its password."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(cert_file, key_file, password=_refuse_password)
    return context


def _refuse_password() -> str:
    raise ValueError("the key is encrypted")
