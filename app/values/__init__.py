"""Values from outside: what can be stored of them, and the exact form in which they are kept. Pure."""
