"""Simulated days of the whole service in virtual time, with faults drawn from a seed: `make soak`."""
