"""RingCentral's own lists for API readers, served through the shared request budget and a short cache."""
