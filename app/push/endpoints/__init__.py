"""Endpoints: what each one wants, its secrets, and where it is in the timeline."""
