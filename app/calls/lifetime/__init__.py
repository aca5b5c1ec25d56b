"""How long calls live: legal holds, which keep them, and the tombstones of those that were erased."""
