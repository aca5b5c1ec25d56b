"""When no delivery could be accepted, derived from the beats of all replicas.

A beat of a replica says: at this moment it was proven that deliveries can be stored, and all deliveries that
this replica refused before are recorded. Does no input or output and reads no clock.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter


@dataclass(frozen=True, slots=True)
class Beat:
    """The first and the last beat of one replica, and whether it has shut down in an orderly way."""

    since: datetime
    at: datetime
    stopped: bool = False


Beats = Mapping[str, Beat]
Period = tuple[datetime, datetime]

_STORED = TypeAdapter(dict[str, Beat])

FORMER = "former"
"""Stands for the replicas of a version that stored one beat for all."""


def read_beats(state: Any, last_at: datetime | None) -> dict[str, Beat]:
    """Read the beats as they are stored. `last_at` is the single beat that former versions stored."""
    if state is None:
        return {} if last_at is None else {FORMER: Beat(last_at, last_at)}
    return _STORED.validate_python(state)


def beats_json(beats: Beats) -> dict[str, Any]:
    """Return the beats as they are stored, by replica."""
    stored: dict[str, Any] = _STORED.dump_python(dict(beats), mode="json")
    return stored


def find_outages(
    beats: Beats, me: str, beat: Beat, now: datetime, silent: Collection[str]
) -> tuple[dict[str, Beat], list[Period]]:
    """Return the beats with this replica's `beat`, and when other replicas may have refused deliveries.

    `silent` are the replicas whose beats are late. Such a replica has crashed or hangs: since its last beat
    it may have refused what was sent to it, even while others worked. A replica that stopped in an orderly
    way has refused nothing while another one was there to take over.
    """
    others = {replica: other for replica, other in beats.items() if replica != me}
    crashed = {replica for replica, other in others.items() if replica in silent and not other.stopped}
    there = {replica: other for replica, other in others.items() if not other.stopped} | {me: beat}
    alive = {replica: other for replica, other in there.items() if replica not in crashed}
    outages = [(others[replica].at, now) for replica in sorted(crashed)]
    for replica in sorted(others):
        stopped = others[replica]
        took_over_at = min(other.since for other in alive.values())
        if stopped.stopped and took_over_at > stopped.at:
            outages.append((stopped.at, took_over_at))
    return alive, [(min(begin, end), max(begin, end)) for begin, end in outages]


def find_rewind(beats: Beats, me: str, written: Beat | None) -> datetime | None:
    """Return the last beat that the database knows if it has lost beats: a backup was restored beneath us, or
    a standby took over that had not received everything. None if it has lost none.

    `written` is the last beat that this replica has stored (None: none yet). A replica that others counted as
    silent is not in `beats` either, but then theirs are later.
    """
    if written is None:
        return None
    known = beats.get(me)
    latest = (
        known.at if known is not None else max((beat.at for beat in beats.values()), default=written.since)
    )
    return latest if latest < written.at else None
