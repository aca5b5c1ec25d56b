"""What hangs on calls: records, recordings, voicemails and attachments, loaded together."""
