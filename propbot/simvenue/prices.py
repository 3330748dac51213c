"""Where the synthetic market's prices come from: pure functions of (seed, wall time), so that a restart never jumps.

A common price near 60 000 that wanders, a basis between perp and spot that moves slowly about −3.5 bps (what the
recordings of August 2024 show), and dislocations: every four and a half seconds one venue leaves the common price by
14 to 25 bps for about two seconds and comes back. They alternate in direction, so that over minutes they cancel out
and do not pull a moving average of the basis.

Floats are right here: this is a market being made up, not an amount being accounted for.
"""

from __future__ import annotations

import math

from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM, VenueId

_MASK = (1 << 64) - 1
_BPS = 1e-4

BASE_PRICE = 60_000.0
PERP_BASIS_BPS = -3.5
DISLOCATION_EVERY_S = 4.5
DISLOCATION_BPS = (14.0, 25.0)
DISLOCATION_LASTS_S = (1.5, 2.5)
_RAMP_S = 0.1
_JITTER_S = 0.8

_WAVES_BPS_S = ((25.0, 7919.0), (9.0, 1553.0), (3.0, 331.0), (1.0, 61.0))
"""(amplitude, period) of the common price's slow waves; primes, so that they do not line up."""


def mix(*parts: int) -> int:
    """A 64-bit hash of integers (splitmix64): the same in every process, unlike hash()."""
    state = 0x9E3779B97F4A7C15
    for part in parts:
        state = (state ^ (part & _MASK)) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB & _MASK
        state ^= state >> 31
    return state


def unit(*parts: int) -> float:
    """`mix` as a number in [0, 1)."""
    return mix(*parts) / 2.0**64


def _value_noise(seed: int, channel: int, t_s: float, bucket_s: float) -> float:
    """Smooth noise in [−1, 1]: random values at bucket edges, eased between."""
    index = math.floor(t_s / bucket_s)
    x = t_s / bucket_s - index
    ease = x * x * (3.0 - 2.0 * x)
    left, right = unit(seed, channel, index), unit(seed, channel, index + 1)
    return 2.0 * (left + (right - left) * ease) - 1.0


def common_bps(seed: int, t_s: float) -> float:
    """The common price's distance from `BASE_PRICE`."""
    waves = sum(
        amplitude * math.sin(2.0 * math.pi * (t_s / period + unit(seed, 1, channel)))
        for channel, (amplitude, period) in enumerate(_WAVES_BPS_S)
    )
    burst = 1.0 + 2.0 * max(0.0, _value_noise(seed, 2, t_s, 20.0)) ** 2
    return waves + burst * (0.6 * _value_noise(seed, 3, t_s, 2.0) + 0.15 * _value_noise(seed, 4, t_s, 0.4))


def basis_bps(seed: int, t_s: float) -> float:
    """Perp over spot, when nothing is out of place."""
    return PERP_BASIS_BPS + 0.5 * math.sin(2.0 * math.pi * (t_s / 1201.0 + unit(seed, 5)))


def dislocation(seed: int, t_s: float) -> tuple[VenueId, float]:
    """Which venue is out of place now and by how many bps (0 between two dislocations)."""
    slot = math.floor(t_s / DISLOCATION_EVERY_S)
    low, high = DISLOCATION_LASTS_S
    lasts_s = low + (high - low) * unit(seed, 6, slot)
    since_s = t_s - slot * DISLOCATION_EVERY_S - _JITTER_S * unit(seed, 7, slot)
    shape = max(0.0, min(1.0, since_s / _RAMP_S, (lasts_s - since_s) / _RAMP_S))
    small, large = DISLOCATION_BPS
    # Sizes pair up like directions do: each even slot and the odd one after it cancel out.
    size_bps = small + (large - small) * unit(seed, 8, slot // 2)
    direction = 1.0 if (mix(seed, 9, slot // 2) + slot) % 2 else -1.0
    venue = BINANCE_UM if mix(seed, 10, slot // 2) % 2 else BINANCE_SPOT
    return venue, direction * size_bps * shape


def mid_price(seed: int, venue: VenueId, t_s: float) -> float:
    where, out_bps = dislocation(seed, t_s)
    bps = common_bps(seed, t_s)
    if venue == BINANCE_UM:
        bps += basis_bps(seed, t_s)
    bps += 0.1 * _value_noise(seed, mix(len(venue), 11), t_s, 1.0)
    if venue == where:
        bps += out_bps
    return BASE_PRICE * (1.0 + bps * _BPS)
