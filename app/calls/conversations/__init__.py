"""Conversations as the API shows them: the calls that belong together, and what became of them."""
