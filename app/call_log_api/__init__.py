"""RingCentral's own lists for API clients, within the shared rate budget and with a short cache."""
