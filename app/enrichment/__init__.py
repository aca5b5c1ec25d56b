"""The heart: from the end of a call to its record.

`planner`, `budget`, `visibility` and `matching` decide and are pure: values in, values out, no clock, no input or
output. `targets`, `pipeline` and `poller` act on what they decided: they claim due rows, ask RingCentral within the
budget, and hand what came back to `calls.store`.
"""
