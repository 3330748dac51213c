"""`write_report`: the folder's trace and ledger and the replay's result → `report.html` beside them."""

from __future__ import annotations

from pathlib import Path

from plotly.offline.offline import get_plotlyjs

from propbot.kit.crash import CrashPoints
from propbot.kit.disk import replace_file
from propbot.replay.report.findings import Findings
from propbot.replay.report.head import ReportHead
from propbot.replay.report.lots import lot_lines, sum_up
from propbot.replay.report.page import render
from propbot.replay.report.reading import read_folder
from propbot.replay.report.reasons import reason_shares
from propbot.replay.result import ReplayResult

REPORT = "report.html"


def write_report(folder: Path, result: ReplayResult, head: ReportHead) -> None:
    """Whole or not at all; blocks. The same folder, result and head make the same bytes.

    OSError where it can't be written.
    """
    recorded = read_folder(folder, head.venues, simulated=head.simulated)
    lines = lot_lines(recorded)
    found = Findings(head, result, recorded, lines, sum_up(lines), reason_shares(recorded.samples))
    plotly_js: str = get_plotlyjs()
    page = render(found, plotly_js)
    replace_file(folder / REPORT, page.encode(), CrashPoints())
