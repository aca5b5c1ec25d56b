"""Scripts of calls, the steps that they are made of, and the company that plays them."""
