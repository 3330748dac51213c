"""The report's page: one document with head, cards, sections, style and scripts that asks nothing of the network.

Its content security policy forbids every request and every script but the two that were written into it, which it
names by their hashes: text from a recording's name or a venue's message could not run even if it got past escaping.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from decimal import Decimal
from importlib.resources import files

from propbot.replay.report import tables
from propbot.replay.report.findings import Findings
from propbot.replay.report.lots import Totals
from propbot.replay.report.markup import Markup, element, together
from propbot.replay.report.numbers import UNKNOWN, decimals, span_text, time_ms, utc_ms
from propbot.replay.report.sections import most_frequent_reason, sections
from propbot.replay.result import ReplayResult


def render(found: Findings, plotly_js: str) -> str:
    scripts = [plotly_js, _own("report.js")]
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_policy(scripts)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", f"{found.head.pair} replay report"),
        element("link", rel="icon", href="data:,"),
        Markup(f"<style>{_own('report.css')}</style>"),
    )
    body = element(
        "body",
        _header(found),
        element("main", _cards(found), sections(found)),
        element("footer", f"PropBot {found.head.version}. Everything on this page is from trace.jsonl and ledger.db "
                "beside it; nothing is loaded from elsewhere."),
        [Markup(f"<script>{script}</script>") for script in scripts],
    )
    return "<!doctype html>\n" + element("html", head, body, lang="en").html + "\n"


def _own(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _policy(scripts: Sequence[str]) -> str:
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


# --- the head

def _header(found: Findings) -> Markup:
    head, samples = found.head, found.recorded.samples
    period = ""
    if samples and found.recorded.origin_ns is not None:
        begin, end = (found.recorded.wall_ns(sample.t) for sample in (samples[0], samples[-1]))
        period = f", {utc_ms(begin)[:-4]} to {time_ms(end)[:-4]} UTC"
    return element(
        "header",
        element("h1", f"{head.pair}: {' and '.join(head.venues)}, replayed"),
        element("p", f"{span_text(found.result.market_s)} of recorded market{period}", class_="sub"),
        element("p", _verdict(found), class_="verdict"),
    )


def _verdict(found: Findings) -> Markup:
    totals, result = found.totals, found.result
    if not totals.opened:
        return together(element("b", "No lot was opened. "), most_frequent_reason(found), " ", _ending(result))
    open_ = f"{totals.still_open} still open at the end" if totals.still_open else "none left open"
    kind = "simulated lots (dry run)" if found.head.simulated else "lots"
    counts = f"{totals.opened} {kind} opened, {totals.closed} closed, {open_}. "
    result_of_closed = (
        f"The closed ones realised {decimals(totals.realised, 2, signed=True)} USDT, "
        f"{decimals(totals.realised_bps, 2, signed=True)} bps a lot against "
        f"{decimals(totals.edge_bps, 2, signed=True)} bps of net edge decided on. "
    )
    return together(element("b", counts), result_of_closed if totals.closed else "", _ending(result))


def _ending(result: ReplayResult) -> str:
    return f"It ended with: {result.at_end.reason}." if result.at_end.reason else "It ended without a HOLD."


def _cards(found: Findings) -> Markup:
    result, totals = found.result, found.totals
    end = result.at_end
    speed = result.market_s / result.wall_s if result.wall_s else None
    won = f"{100 * totals.won / totals.closed:.0f}\u2009%" if totals.closed else "–"
    cards = [
        _card("P&L, net of fees and funding", decimals(end.pnl_usdt, 4, signed=True), "USDT",
              "of trading; a dry run trades nothing" if found.head.simulated else "realised and unrealised at the end",
              _sign(end.pnl_usdt)),
        _card("Fees", decimals(end.fees_usdt, 4), "USDT", "of all fills"),
        _card("Lots opened / closed / open", f"{totals.opened} / {totals.closed} / {totals.still_open}", "lots",
              f"{totals.not_filled} more were decided on and not filled" if totals.not_filled else ""),
        _card("Win rate", won, "", f"{totals.won} of {totals.closed} closed lots"),
        _card("Net edge decided on", decimals(totals.edge_bps, 2, signed=True, absent="–"), "bps a lot", "average"),
        _card("Realised", decimals(totals.realised_bps, 2, signed=True, absent="–"), "bps a lot",
              "average, of one leg's notional", _sign(totals.realised_bps)),
        _card("Slippage against decisions", _slippage(totals), "USDT", _slippage_more(totals)),
        _card("Leg skew, p50 / p95", tables.skew_text(totals), "ms", "first trades of the two legs"),
        _card("Frames", decimals(float(result.frames), 0), "frames", f"{end.decisions} decisions, "
              f"{result.counted.orders} orders, {result.counted.fills} fills"),
        _card("Speed", decimals(speed, 1), "× real time", f"{decimals(result.market_s, 1)} s of market in "
              f"{decimals(result.wall_s, 1)} s"),
    ]
    if found.recorded.funding_quote:
        paid = ", ".join(f"{decimals(a, 4, signed=True)} {asset}" for asset, a in found.recorded.funding_quote.items())
        cards.append(_card("Funding", paid, "", "booked by venue, not by lot"))
    return element("div", cards, class_="cards")


def _card(label: str, value: str, unit: str, more: str, kind: str | None = None) -> Markup:
    return element(
        "div",
        element("div", label, class_="label"),
        element("div", value, " ", element("small", unit), class_=f"value {kind or ''}".strip()),
        element("div", more, class_="more"),
        class_="card",
    )


def _sign(amount: Decimal | None) -> str | None:
    return None if not amount else "gain" if amount > 0 else "loss"


def _slippage(totals: Totals) -> str:
    return decimals(totals.slippage, 4, signed=True, absent=UNKNOWN if totals.opened else "–")


def _slippage_more(totals: Totals) -> str:
    if totals.slippage is None:
        return ""
    return f"{decimals(totals.slippage_bps, 2, signed=True)} bps of what was traded; positive is a cost"
