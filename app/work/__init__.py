"""What background work stands on: wake-ups, leases and loops."""
