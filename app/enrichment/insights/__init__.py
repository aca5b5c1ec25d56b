"""Requests for conversation insights of recorded calls."""
