"""Scripted calls, the steps they consist of, and the company that makes them."""
