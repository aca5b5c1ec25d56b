"""From messages to requests: turns, addresses, signatures, retries."""
