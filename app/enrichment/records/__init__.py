"""Call records: which call a record belongs to, and how records update a call."""
