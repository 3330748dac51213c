"""I18: the venues' own count of what we ask of them."""

from __future__ import annotations

import math
from collections.abc import Iterator

from propbot.simulate.oracle.evidence import Evidence, Violation

IN_FLIGHT_S = 0.1
"""Asked before the refusal was read."""
_NUDGED = ("rate_limit_429", "ban_418")
"""Faults with which a venue refuses without our doing."""


def check_rates(evidence: Evidence) -> Iterator[Violation]:
    """I18."""
    paused_until: dict[str, tuple[float, float]] = {}
    nudged: set[str] = set()
    dripping_until: dict[str, float] = {}
    """A refusal that comes byte by byte is not read before its time is over."""
    over: set[str] = set()
    for row in evidence.rows:
        if row["who"] != "venue":
            if (row["who"], row["kind"]) == ("bot", "crash"):
                paused_until.clear()
            continue
        venue, t = str(row["venue"]), float(row["t"])
        if row["kind"] == "fault" and str(row.get("fault")).startswith(_NUDGED):
            nudged.add(venue)
        elif row["kind"] == "fault" and row.get("fault") == "drip_body":
            if row["what"] == "begins":  # occasions may pass between its injection and this
                until_s = t + float((row.get("params") or {}).get("seconds", math.inf))
                dripping_until[venue] = max(dripping_until.get(venue, 0.0), until_s)
            elif row["what"] == "cleared":
                dripping_until[venue] = t
        elif row["kind"] == "request" and venue in paused_until:
            since, until = paused_until[venue]
            if since + IN_FLIGHT_S < t < until:
                told = f"{venue} got {row['method']} {row['path']} {until - t:.3g} s before its Retry-After was over"
                yield Violation("I18", t, told)
                del paused_until[venue]
        elif row["kind"] == "reply":
            readable = t > dripping_until.get(venue, -math.inf)
            if row.get("retry_after") is not None and row["status"] in (418, 429) and readable:
                paused_until[venue] = (t, t + float(row["retry_after"]) - 1.0)
            if row["status"] == 418 and venue not in nudged:
                yield Violation("I18", t, f"{venue} banned us")
            share = row.get("used_share") or 0.0
            if share > evidence.limits.rate_share and venue not in over:
                over.add(venue)
                yield Violation("I18", t, f"{venue} counts {share:.0%} of its limit")
