"""Why nothing was done, counted: reasons with their numbers taken out, and the share of time that each held."""

from __future__ import annotations

import re
from collections.abc import Sequence

from attrs import frozen

from propbot.replay.report.reading import Sample

NOTHING_STOOD_IN_THE_WAY = "nothing: a pair of orders was under way"
_KNOWN = (
    (re.compile(r"net edge \S+ bps below \S+ bps"), "net edge below MIN_SPREAD_BPS"),
    (re.compile(r" ?\(limit [^()]*, value [^()]*\)"), ""),
    (re.compile(r"\blot-[0-9a-z]+"), "…"),
)
_NUMBER = re.compile(r"(?<![\w.])[-+−]?\d+([.,]\d+)*(?![\w])")


@frozen
class ReasonShare:
    reason: str
    samples: int
    seconds: float
    share: float
    """Of the time that was sampled."""


def reason_group(reason: str) -> str:
    """`reason` without what changes from one moment to the next."""
    if not reason:
        return NOTHING_STOOD_IN_THE_WAY
    for pattern, plain in _KNOWN:
        reason = pattern.sub(plain, reason)
    return _NUMBER.sub("…", reason)


def reason_shares(samples: Sequence[Sample]) -> tuple[ReasonShare, ...]:
    """The most frequent first. A sample stands for the time until the next one; the last for none."""
    counts: dict[str, int] = {}
    seconds: dict[str, float] = {}
    ends = [sample.t for sample in samples[1:]] + [sample.t for sample in samples[-1:]]
    for sample, end in zip(samples, ends, strict=True):
        group = reason_group(sample.why_not)
        counts[group] = counts.get(group, 0) + 1
        seconds[group] = seconds.get(group, 0.0) + end - sample.t
    total = sum(seconds.values())
    shares = [ReasonShare(r, counts[r], seconds[r], seconds[r] / total if total else 0.0) for r in counts]
    return tuple(sorted(shares, key=lambda each: (-each.seconds, each.reason)))
