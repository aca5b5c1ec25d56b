"""A row of the table of scale: what was measured, its limit or peer in the same run, and its goal."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table.

    `measured` and `goal` are what a reader sees, with units; `is_met` is None where a quick run is too short
    to say, or where there is no goal.
    """

    measure: str
    measured: str
    peer: str
    goal: str
    is_met: bool | None
