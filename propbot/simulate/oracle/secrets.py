"""I16: no secret in anything that was written, answered, logged or kept, in none of the ways it may be spelled."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from urllib.parse import quote

from propbot.simulate.oracle.evidence import Evidence, Violation

PIECE = 8


def spellings(secret: str) -> dict[str, bytes]:
    """How it may stand somewhere → the bytes to look for: pieces of eight, so that a part of it shows as well."""
    raw = secret.encode()
    found = {
        "hex": raw.hex().encode(), "URL-encoded": quote(secret, safe="").encode(),
        # of three alignments, what does not hang on the bytes around it
        **{
            f"base64+{shift}": base64.b64encode(b"\0" * shift + raw)[4 if shift else 0 : -4]
            for shift in range(3)
        },
    }
    pieces = {f"piece {at}": raw[at : at + PIECE] for at in range(0, max(1, len(raw) - PIECE + 1), PIECE)}
    return {**found, **pieces}


def check_secrets(evidence: Evidence) -> Iterator[Violation]:
    """I16."""
    for name, secret in evidence.canaries.items():
        for spelling, needle in spellings(secret).items():
            for where, content in evidence.written.items():
                if needle and needle in content:
                    yield Violation("I16", evidence.end_s, f"{name} ({spelling}) stands in {where}")
                    return
