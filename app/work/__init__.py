"""The kit of background work: loops and lanes, leases, backoff, holds, wake-ups."""
