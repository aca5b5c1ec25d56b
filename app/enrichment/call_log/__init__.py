"""Reading the Call Log: calls that are due, changes since the last look, and sweeps over ranges of time."""
