"""What the embedded venues show to their clients: each venue's REST and WebSocket protocol over one matching engine."""
