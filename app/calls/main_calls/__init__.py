"""Which call of a conversation is the one to write into a CRM."""
