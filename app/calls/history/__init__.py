"""Earlier versions of calls, as far as the timeline tells them."""
