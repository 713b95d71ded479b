"""The collectors: each turns what happens on this PC into observations for the store."""
