"""Reads of the Call Log: calls that are due, changes since the last read, and sweeps over ranges of time."""
