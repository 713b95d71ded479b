"""The agent on a developer's PC: records the work locally and, if asked to, syncs it."""
