"""The directory of an account: who its extensions belong to, read from time to time and kept."""
