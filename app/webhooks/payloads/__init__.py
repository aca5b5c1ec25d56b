"""What a delivery says: its kind, the calls that it is about, the facts that it tells."""
