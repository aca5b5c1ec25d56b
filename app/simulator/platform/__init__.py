"""The state of the simulated platform: views, events, tokens, subscriptions, limits."""
