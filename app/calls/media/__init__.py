"""The audio that calls name: recordings and voicemails, their states and their rows."""
