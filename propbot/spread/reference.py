"""The reference of a pair: zero between equal instruments, a time-weighted moving basis between unlike ones.

A perpetual that trades at a constant discount to spot offers no profit: only the deviation from the usual discount
reverts. The basis belongs to the books, so it goes on in HOLD, and a start shortly after a stop takes it up again.
"""

from __future__ import annotations

import math

from attrs import define, field, frozen


@frozen
class BasisState:
    """What is kept over a restart; `wall_ns` says when it was true."""

    value_bps: float
    weight_s: float
    observed_s: float
    wall_ns: int


@define
class MovingBasis:
    """Exponentially weighted mean over time of `(second mid − first mid)` in bps.

    Each value counts for the time that it stood. The weights are normalised, so that the first minutes are a plain
    time-weighted mean instead of a memory of the first tick. Floats: it only ever shifts a threshold.
    """

    halflife_s: float
    warmup_s: float
    _sum: float = field(default=0.0, init=False)
    _weight_s: float = field(default=0.0, init=False)
    _observed_s: float = field(default=0.0, init=False)
    _last_bps: float | None = field(default=None, init=False)
    _last_mono_s: float = field(default=0.0, init=False)

    def observe(self, basis_bps: float, mono_s: float) -> None:
        """`basis_bps` stands from now on; what stood before is counted for the time that it did."""
        self._settle(mono_s)
        self._last_bps = basis_bps

    def pause(self, mono_s: float) -> None:
        """A book was lost: the time until the next `observe` counts for nothing."""
        self._settle(mono_s)
        self._last_bps = None

    @property
    def warm(self) -> bool:
        return self._observed_s >= self.warmup_s and self._weight_s > 0

    @property
    def value_bps(self) -> float | None:
        """The basis, None before the first stretch of time."""
        return self._sum / self._weight_s if self._weight_s > 0 else None

    def state(self, wall_ns: int) -> BasisState | None:
        value = self.value_bps
        return None if value is None else BasisState(value, self._weight_s, self._observed_s, wall_ns)

    def take_up(self, state: BasisState, wall_ns: int, age_s_max: float = 60.0) -> bool:
        """Go on from a saved state if it is younger than `age_s_max`; says whether it was."""
        age_s = (wall_ns - state.wall_ns) / 1e9
        if not 0 <= age_s <= age_s_max or not math.isfinite(state.value_bps):
            return False
        self._weight_s = state.weight_s
        self._sum = state.value_bps * state.weight_s
        self._observed_s = state.observed_s
        return True

    def _settle(self, mono_s: float) -> None:
        if self._last_bps is not None and mono_s > self._last_mono_s:
            stood_s = mono_s - self._last_mono_s
            decay = 0.5 ** (stood_s / self.halflife_s)
            # the integral of the weight over the stretch, so that one long stretch equals many short ones
            gained = (1 - decay) * self.halflife_s / math.log(2)
            self._sum = self._sum * decay + self._last_bps * gained
            self._weight_s = self._weight_s * decay + gained
            self._observed_s += stood_s
        self._last_mono_s = mono_s
