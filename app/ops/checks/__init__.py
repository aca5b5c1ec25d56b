"""What `aftercall check` looks at."""
