"""The real service beside the simulated RingCentral, for the demo and for authors of connectors.

The service runs in a process of its own and gets nothing but its environment.
"""
