"""What Binance's two markets share: signing, error codes, filters, stream frames, orders."""
