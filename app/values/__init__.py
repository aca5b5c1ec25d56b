"""Values from outside: what of them can be stored, and their exact stored form. Pure."""
