"""Recordings: whether they are ready, their archive, and playback."""
