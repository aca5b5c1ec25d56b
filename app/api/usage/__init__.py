"""What each API key does with the service: how often it asks, from which origins, and its last requests."""
