"""Polling Active Calls: when to poll, who polls, and what a poll brings."""
