"""From stored deliveries to calls and the end of a call."""
