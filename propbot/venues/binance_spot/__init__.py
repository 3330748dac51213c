"""Binance spot."""

from __future__ import annotations

from propbot.venues.binance_spot.dialect import BinanceSpot

__all__ = ["BinanceSpot"]
