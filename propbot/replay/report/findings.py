"""Everything that the page shows, in one value."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from propbot.replay.report.head import ReportHead
from propbot.replay.report.lots import LotLine, Totals
from propbot.replay.report.reading import Recorded
from propbot.replay.report.reasons import ReasonShare
from propbot.replay.result import ReplayResult


@frozen
class Findings:
    head: ReportHead
    result: ReplayResult
    recorded: Recorded
    lines: Sequence[LotLine]
    totals: Totals
    reasons: Sequence[ReasonShare]
