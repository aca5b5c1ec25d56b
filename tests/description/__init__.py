"""Linters and generators of clients over the API description: `make description`, `make generator`."""
