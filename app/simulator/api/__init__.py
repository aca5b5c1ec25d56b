"""The simulated RingCentral's HTTP API."""
