"""Calls that belong together: transfers, conferences and RingOut."""
