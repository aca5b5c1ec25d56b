"""Middleware: what a request passes before it reaches a route, from the connection to the request log."""
