"""`secrets.enc`, bytes ⇄ secrets: each sealed by AES-256-GCM under the master key.

A record's name, version and date are its associated data, so that a record that was put in another one's place does
not open. The list of records is sealed too, so that one that was taken out, or put back from an older copy, is missed.
An older copy of the whole file is a legal file: its versions and dates are what tells it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from attrs import field, frozen
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SCHEMA = 1
KEY_BYTES = 32
NONCE_BYTES = 12
"""What GCM takes; random, and never used twice: each write seals everything anew."""
FILE_BYTES_MAX = 1_000_000
_INDEX = b"propbot secrets: the list"

RandomBytes = Callable[[int], bytes]
"""Fit for keys: the operating system's."""


@frozen
class Secret:
    name: str
    version: int
    """1 for the first value of that name, and one more with each change."""
    ts_ns: int
    """Wall clock of its storing."""
    value: str = field(repr=False)


class BadSecrets(Exception):
    """The file is there and can't be opened; the message says why, and holds no secret."""


def parse_key(text: str) -> bytes:
    """The 32 bytes that `text` spells in hex or base64; ValueError, which does not repeat it, for anything else."""
    text = text.strip()
    if re.fullmatch(r"[0-9a-fA-F]{64}", text):
        return bytes.fromhex(text)
    try:
        key = b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)
    except (Base64Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError("not 32 bytes as 64 hex digits or in base64")
    return key


def seal(secrets: Iterable[Secret], key: bytes, random_bytes: RandomBytes) -> bytes:
    """The whole file."""
    cipher, held = AESGCM(key), sorted(secrets, key=lambda each: each.name)

    def sealed(plain: bytes, associated: bytes) -> dict[str, str]:
        nonce = random_bytes(NONCE_BYTES)
        return {"nonce": _text(nonce), "sealed": _text(cipher.encrypt(nonce, plain, associated))}

    body = {
        "schema": SCHEMA,
        "key_id": _key_id(key),
        "records": [
            {
                "name": each.name, "version": each.version, "ts_ns": each.ts_ns,
                **sealed(each.value.encode(), _associated(each.name, each.version, each.ts_ns)),
            }
            for each in held
        ],
        "list": sealed(_listed((each.name, each.version, each.ts_ns) for each in held), _INDEX),
    }
    return json.dumps(body, indent=1).encode()


def open_sealed(content: bytes, key: bytes) -> dict[str, Secret]:
    """By name. BadSecrets for another key, and for a file that is torn, changed, or not ours."""
    try:
        body = json.loads(content)
        schema = body["schema"]
        if schema != SCHEMA or schema is True:
            raise BadSecrets(f"schema {str(schema)[:20]}, this version knows {SCHEMA}")
        if not hmac.compare_digest(str(body["key_id"]).encode(), _key_id(key).encode()):
            raise BadSecrets("it was sealed with another key than the one that is set now")
        records = [(str(row["name"]), int(row["version"]), int(row["ts_ns"])) for row in body["records"]]
        listed = _open(AESGCM(key), body["list"], _INDEX, "its list of records")
        if listed != _listed(records):
            raise BadSecrets("records were taken out, put in or exchanged")
        return {str(row["name"]): _open_record(AESGCM(key), row) for row in body["records"]}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BadSecrets("it is torn, or no file of secrets at all") from None


def _open_record(cipher: AESGCM, row: Mapping[str, Any]) -> Secret:
    name, version, ts_ns = str(row["name"]), int(row["version"]), int(row["ts_ns"])
    plain = _open(cipher, row, _associated(name, version, ts_ns), f"the record {name[:60]!r}")
    return Secret(name, version, ts_ns, plain.decode())


def _open(cipher: AESGCM, row: Mapping[str, Any], associated: bytes, what: str) -> bytes:
    try:
        nonce, sealed = b64decode(row["nonce"], validate=True), b64decode(row["sealed"], validate=True)
        return cipher.decrypt(nonce, sealed, associated)
    except InvalidTag:
        raise BadSecrets(f"{what} was changed, or belongs elsewhere") from None


def _key_id(key: bytes) -> str:
    """Tells keys apart, and nothing about them."""
    return hmac.new(key, b"propbot secrets: which key", hashlib.sha256).hexdigest()[:16]


def _associated(name: str, version: int, ts_ns: int) -> bytes:
    return json.dumps(["propbot secret", name, version, ts_ns]).encode()


def _listed(records: Iterable[tuple[str, int, int]]) -> bytes:
    return json.dumps(list(records)).encode()


def _text(raw: bytes) -> str:
    return b64encode(raw).decode()
