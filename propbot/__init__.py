"""PropBot: trades the spread between crypto venues, so that the person on call can trust it."""

__version__ = "0.1.0"
