"""Sweeps: ranges of time that are read in the Call Log, for calls that no event announced."""
