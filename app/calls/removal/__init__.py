"""Removes calls, with all that belongs to them, and counts them."""
