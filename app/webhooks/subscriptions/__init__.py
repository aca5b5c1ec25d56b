"""Webhook subscriptions: created, renewed, and supervised."""
