"""The worker process: features, then the model; it runs on Python 3.10 and imports nothing of the daemon's other rooms."""
