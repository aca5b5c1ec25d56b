"""How the simulator delivers webhooks."""
