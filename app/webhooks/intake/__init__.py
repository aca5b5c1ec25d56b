"""Where deliveries come in: they are checked, stored and answered."""
