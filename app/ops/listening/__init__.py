"""The pages on which people listen to a recording or a voicemail by a link."""
