"""The DevFlow Monitor server. A developer's PC installs only ``wire`` and ``errors`` of it."""
