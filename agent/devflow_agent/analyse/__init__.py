"""What the recorded events say; reads the store only, so it works with no network."""
