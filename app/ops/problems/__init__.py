"""What needs a person: the list of problems, their remedies, and the watches that report some."""
