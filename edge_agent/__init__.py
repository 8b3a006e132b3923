"""The daemon: events in from MQTT, models in worker processes, results out, updates taken in and taken back."""

__version__ = "0.1.0"
