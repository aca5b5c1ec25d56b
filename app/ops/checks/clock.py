"""Checks the clock of this machine."""

import socket

from app.accounts.connections import Connections
from app.ops.checks.results import CheckResult, Findings
from app.ops.problems.clock_skew import describe_skew


def check_clock(connections: Connections) -> Findings:
    """Compare our clock with RingCentral's, if it responded at all."""
    skew = connections.meter.skew
    if skew is None:
        return Findings()
    problem = describe_skew(skew, socket.gethostname())
    if problem is not None:
        return Findings(problems=(problem,))
    return Findings((CheckResult("clock", True, f"within {skew.most:.1f} s of RingCentral's"),))
