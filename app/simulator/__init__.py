"""A RingCentral on loopback, as a product of its own: scripted calls over real HTTP.

It drives the demo, end-to-end tests and benchmarks, and serves authors of CRM connectors. It knows nothing of
the service, which in turn knows it only as a URL.
"""

from app.simulator.multi_account import serving_together
from app.simulator.runner import create_app, create_media_app, create_simulator, run, serve, serving
from app.simulator.settings import DEFAULT_MIX, Faults, SimulatorSettings
from app.simulator.simulator import Simulator
from app.simulator.timing import Timing

__all__ = [
    "DEFAULT_MIX",
    "Faults",
    "Simulator",
    "SimulatorSettings",
    "Timing",
    "create_app",
    "create_media_app",
    "create_simulator",
    "run",
    "serve",
    "serving",
    "serving_together",
]
