"""Attaching many notes, sentiments, dispositions and links, to any calls, with one request."""
