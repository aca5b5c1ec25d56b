"""How the service is doing, counted in the database."""
