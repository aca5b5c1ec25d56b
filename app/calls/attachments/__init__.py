"""What people and CRMs attach to a call: notes, sentiment, dispositions and links."""
