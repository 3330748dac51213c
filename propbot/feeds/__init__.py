"""Sessions with a venue's streams: connect, subscribe, read, notice silence, end with a reason. They only publish."""
