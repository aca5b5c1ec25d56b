"""A simulated RingCentral on loopback: scripted calls over real HTTP.

The demo, the end-to-end tests and the benchmarks use it, and so can authors of CRM connectors. It does not
import the service, and the service knows it only as a URL.
"""

from app.simulator.multi_account import serving_accounts
from app.simulator.runner import serving
from app.simulator.settings import DEFAULT_MIX, Faults, SimulatorSettings
from app.simulator.simulator import Simulator
from app.simulator.timing import Timing

__all__ = [
    "DEFAULT_MIX",
    "Faults",
    "Simulator",
    "SimulatorSettings",
    "Timing",
    "serving",
    "serving_accounts",
]
