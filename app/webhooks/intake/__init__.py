"""Where deliveries come in: checked, stored, answered."""
