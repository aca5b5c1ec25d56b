"""Polls of Active Calls: when to poll, which replica polls, and what a poll shows."""
