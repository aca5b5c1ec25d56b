"""Calls as each CRM wants them: what to write, whether it can be written, and a hash of what it shows."""
