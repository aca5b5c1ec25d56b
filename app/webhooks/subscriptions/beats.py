"""When no delivery could be accepted, worked out from the beats of all replicas.

A beat of a replica says: at this moment it was proven that deliveries can be stored, and all deliveries that this
replica refused before are written down. Does no input or output and reads no clock.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any


@dataclass(frozen=True, slots=True)
class Beat:
    """The last beat of one replica, and its first one. A replica that shut down in order has `stopped`."""

    since: datetime
    at: datetime
    stopped: bool = False


Beats = Mapping[str, Beat]

Outage = tuple[datetime, datetime]
"""From and to."""

FORMER = "former"
"""Stands for the replicas of a version that kept one beat for all."""


def read_beats(state: Any, last_at: datetime | None) -> dict[str, Beat]:
    """Read the beats as they are stored. `last_at` is the one beat that former versions kept."""
    if state is None:
        return {} if last_at is None else {FORMER: Beat(last_at, last_at)}
    return {
        replica: Beat(
            datetime.fromisoformat(beat["since"]), datetime.fromisoformat(beat["at"]), bool(beat["stopped"])
        )
        for replica, beat in state.items()
    }


def beats_json(beats: Beats) -> dict[str, Any]:
    return {
        replica: {"since": beat.since.isoformat(), "at": beat.at.isoformat(), "stopped": beat.stopped}
        for replica, beat in beats.items()
    }


def find_outages(
    beats: Beats, me: str, beat: Beat, now: datetime, silent: Collection[str]
) -> tuple[dict[str, Beat], list[Outage]]:
    """Return the beats as they are after this replica's, and when other replicas may have refused deliveries.

    `silent` are the replicas that are late with their beats. One that is silent has crashed or hangs: from its last
    beat on it may have refused what was sent to it, also while others did well. One that stopped in order has
    refused nothing while another one was there to take over.
    """
    others = {replica: other for replica, other in beats.items() if replica != me}
    crashed = {replica for replica, other in others.items() if replica in silent and not other.stopped}
    there = {replica: other for replica, other in others.items() if not other.stopped} | {me: beat}
    alive = {replica: other for replica, other in there.items() if replica not in crashed}
    outages = [(others[replica].at, now) for replica in sorted(crashed)]
    for replica in sorted(others):
        stopped = others[replica]
        if stopped.stopped and not any(_took_over(other, stopped) for other in alive.values()):
            outages.append((stopped.at, min(other.since for other in alive.values())))
    return alive, [(min(begin, end), max(begin, end)) for begin, end in outages]


def _took_over(other: Beat, stopped: Beat) -> bool:
    return other.since <= stopped.at


def is_late(at: datetime, now: datetime, allowed_seconds: float) -> bool:
    """Whether a beat is older than a replica that is well would let it become."""
    return now - at > timedelta(seconds=allowed_seconds)
