"""Outbound webhooks: changes of calls, signed and sent to the endpoints of connectors."""
