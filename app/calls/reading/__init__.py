"""How calls are returned over HTTP: whole, with fewer fields, or with more parts than a call shows."""
