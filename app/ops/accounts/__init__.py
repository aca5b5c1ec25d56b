"""Administration of accounts and the OAuth flow."""
