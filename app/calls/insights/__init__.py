"""Insights of a call: transcripts, summaries and RingCentral's own sentiment."""
