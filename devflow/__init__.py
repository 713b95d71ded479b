"""The DevFlow Monitor server. A developer's PC installs only ``wire`` and ``errors`` of it."""

__version__ = "0.1.0"
