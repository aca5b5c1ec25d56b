"""Imported by the fork server of `preloaded`: what each service process would do again.

FastAPI reads the signatures behind the routes when it matches the first request, and the garbage collector
looks through all that was imported.
"""

import gc

from app.main import shared_routes

for route in shared_routes().routes:
    route.matches({"type": "http", "method": "GET", "path": "/nothing-is-here", "headers": []})
gc.collect()
gc.freeze()
