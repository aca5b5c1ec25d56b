"""What is sent: the JSON of a message, and examples of it."""
