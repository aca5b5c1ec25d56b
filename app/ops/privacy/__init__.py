"""The routes by which operators erase people's data, and keep calls from being deleted."""
