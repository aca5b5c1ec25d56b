"""The demo: an invented company on the simulated RingCentral, the real service, and a CRM connector.

The service runs in its own process and gets nothing but its environment. What the terminal shows of a call
comes from the service's API; only hang-ups, which a person would notice, come from the simulator.
"""
