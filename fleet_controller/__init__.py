"""The controller: signed releases in waves, health in, one desired state per device."""

__version__ = "0.1.0"
