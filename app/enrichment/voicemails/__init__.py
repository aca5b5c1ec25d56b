"""Voicemails: requesting them and their transcripts, and archiving their audio."""
