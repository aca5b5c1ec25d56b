"""The people of an account for API readers: its extensions, as the directory lists them."""
