"""The demo: a made-up company on the simulated RingCentral, the real service, and a CRM connector that reads it.

The service runs as a process of its own and is told nothing but its environment. What the terminal shows of
a call was heard over the service's API; only hang-ups, which a person would hear, come from the simulator.
"""
