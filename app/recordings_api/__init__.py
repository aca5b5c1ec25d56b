"""Recordings and voicemails for API readers: what is known of one, and its audio."""
