"""The operator's command line. It speaks HTTP to the service and knows nothing else of it."""
