"""The routes of webhook endpoints, and the description of what they send."""
