"""Service levels: what was measured over the last minutes against what is promised, each from its real distribution.

A reading is computed when it is asked for, from windows that others fill; asking changes nothing. Too few samples are
"unknown": a percentile of three is an accident.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from enum import StrEnum

from attrs import define, field, frozen

from propbot.kit.window import Window, percentile

MINUTES_S = 600.0


class SloState(StrEnum):
    OK = "OK"
    BREACH = "BREACH"
    UNKNOWN = "unknown"


@frozen
class SloReading:
    id: str
    title: str
    value: float | None
    """None: nothing was measured within the window."""
    threshold: float
    """More than this is a breach."""
    unit: str
    window_s: float | None
    """None: since midnight UTC."""
    state: SloState
    samples: int
    severity: str
    """Of a breach. P0: it is a HOLD as well."""


@frozen
class Target:
    """One promise. `measure` makes the value from the window's samples."""

    id: str
    title: str
    threshold: float
    unit: str
    window: Window
    measure: Callable[[Sequence[float]], float | None]
    samples_min: int = 1
    severity: str = "P1"

    def read(self, now_mono_s: float) -> SloReading:
        samples = self.window.values(now_mono_s)
        value = self.measure(samples) if samples else None
        return SloReading(
            self.id, self.title, None if value is None else round(value, 4), self.threshold, self.unit,
            self.window.span_s, judge(value, self.threshold, enough=len(samples) >= self.samples_min), len(samples),
            self.severity,
        )


def judge(value: float | None, threshold: float, *, enough: bool = True) -> SloState:
    if value is None or not enough:
        return SloState.UNKNOWN
    return SloState.BREACH if value > threshold else SloState.OK


def p95(samples: Sequence[float]) -> float | None:
    return percentile(samples, 0.95)


def p99(samples: Sequence[float]) -> float | None:
    return percentile(samples, 0.99)


def rate(samples: Sequence[float]) -> float | None:
    """The share of samples that are 1."""
    return sum(samples) / len(samples) if samples else None


def count(samples: Sequence[float]) -> float | None:
    return float(sum(samples))


@frozen
class Windows:
    """Where the samples are; each belongs to whoever measures it."""

    tick_to_order_ms: Window
    order_rtt_ms: Window
    rejected: Window
    """1 for an order that its venue refused, 0 for one that it took."""
    cancel_failed: Window
    loop_late_s: Window


@define(eq=False)
class Slo:
    now_s: Callable[[], float]
    windows: Windows
    drawdown: Callable[[], Decimal | None]
    drawdown_usdt_max: Decimal
    book_age_s_max: float
    book_age_s: Window = field(factory=lambda: Window(60.0), init=False)
    recon_differed: Window = field(factory=lambda: Window(MINUTES_S), init=False)
    """1 for a comparison that began a disagreement, 0 for any other."""
    api_ms: Window = field(factory=lambda: Window(300.0), init=False)
    targets: tuple[Target, ...] = field(init=False)

    def __attrs_post_init__(self) -> None:
        w = self.windows
        self.targets = (
            Target("book_age_p95", "Book age, p95", self.book_age_s_max, "s", self.book_age_s, p95, 20),
            Target("tick_to_order_p95", "Tick to order, p95", 50.0, "ms", w.tick_to_order_ms, p95, 20),
            Target("order_round_trip_p95", "Order round trip, p95", 500.0, "ms", w.order_rtt_ms, p95, 20),
            Target("reject_rate", "Orders refused by venues", 0.1, "ratio", w.rejected, rate, 20),
            Target(
                "cancel_failure_rate", "Cancels that failed", 0.5, "ratio", w.cancel_failed, rate, 4, severity="P0"
            ),
            Target(
                "recon_mismatches", "Disagreements with venues", 5.0, "count", self.recon_differed, count,
                severity="P0",
            ),
            Target("api_latency_p99", "API latency, p99", 250.0, "ms", self.api_ms, p99, 20),
            Target(
                "loop_lag_p99", "Event loop lateness, p99", 100.0, "ms", w.loop_late_s,
                lambda late_s: None if (late := p99(late_s)) is None else late * 1000, 100,
            ),
        )

    def readings(self) -> tuple[SloReading, ...]:
        now = self.now_s()
        return (*(target.read(now) for target in self.targets), self._read_drawdown())

    def _read_drawdown(self) -> SloReading:
        drawdown = self.drawdown()
        value = None if drawdown is None else float(drawdown)
        threshold = float(self.drawdown_usdt_max)
        return SloReading(
            "day_drawdown", "The day's loss from its peak", None if value is None else round(value, 4), threshold,
            "USDT", None, judge(value, threshold), 0 if value is None else 1, "P0",
        )
