"""RingCentral's rate limits: one bucket per user, app and group, shared by all replicas."""
