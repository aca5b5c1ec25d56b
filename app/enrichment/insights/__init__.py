"""Looking for conversation insights of recorded calls."""
