"""Binance USDⓈ-M futures."""

from __future__ import annotations

from propbot.venues.binance_um.dialect import BinanceUm

__all__ = ["BinanceUm"]
