"""Removes what has been kept long enough, each kind by a setting of its own."""
