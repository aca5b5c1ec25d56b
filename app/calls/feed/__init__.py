"""The feed: every visible change of an account's calls, in order, and the routes that read it."""
