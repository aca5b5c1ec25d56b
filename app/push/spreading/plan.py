"""Decides which messages a part of the timeline makes for an endpoint. No I/O."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from app.push.endpoints.matching import (
    ERASED,
    CallTraits,
    is_complete,
    matches_call,
    matches_type,
    may_become_complete,
)
from app.push.endpoints.model import Completeness, Deliver, Endpoint, Rules


class Kind(StrEnum):
    """What a message tells: one change, or that a call is complete."""

    CHANGE = "change"
    COMPLETE = "complete"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class ReadChange:
    """A change as the feed shows it. `cursor`: the position after it, which is the `webhook-id`."""

    seq: int
    cursor: str
    shown: Mapping[str, Any]

    @property
    def call_id(self) -> str:
        return str(self.shown["callId"])

    @property
    def type(self) -> str:
        return str(self.shown["type"])

    @property
    def key_id(self) -> str | None:
        """The API key that made the change."""
        key_id: str | None = self.shown["data"].get("keyId")
        return key_id

    @property
    def at(self) -> datetime:
        return datetime.fromisoformat(self.shown["at"])


@dataclass(frozen=True, slots=True)
class Wait:
    """What is known of a call that an endpoint receives once.

    `due_at`: when it is sent, complete or not; None: it is not waiting. `seq`: the change with which it was
    sent.
    """

    due_at: datetime | None = None
    seq: int | None = None


@dataclass(frozen=True, slots=True)
class Due:
    """When a message is due, and how early a success that ends a failure of its endpoint may make it so."""

    at: datetime
    soonest_at: datetime | None = None


def due_of(earlier: Due | None, now: datetime) -> Due:
    """Return when a new message is due; `earlier`: the last of its call that waits."""
    return Due(now) if earlier is None or earlier.at <= now else earlier


def wants(rules: Rules, change: ReadChange, traits: CallTraits | None, key_id: str | None = None) -> bool:
    """Whether an endpoint with these rules wants a change.

    `traits`: of its call, None if that is removed. `key_id`: the API key that created the endpoint.
    """
    if not matches_type(rules.types, change.type):
        return False
    if change.type == ERASED:
        return True
    if traits is None or (rules.exclude and key_id is not None and change.key_id == key_id):
        return False
    return matches_call(rules.filters, str(change.shown["data"].get("stage", traits.stage)), traits)


def choose_changes(
    rules: Rules,
    changes: Iterable[ReadChange],
    traits: Mapping[str, CallTraits],
    key_id: str | None = None,
) -> list[ReadChange]:
    """Return the changes to send, in order; with `latest` only the last wanted one of each call."""
    wanted = [one for one in changes if wants(rules, one, traits.get(one.call_id), key_id)]
    if rules.deliver is not Deliver.LATEST:
        return wanted
    last = {one.call_id: one.seq for one in wanted}
    return [one for one in wanted if last[one.call_id] == one.seq]


def judge_wait(rules: Rules, traits: CallTraits, known: Wait | None, now: datetime) -> Wait | None:
    """Return what becomes of a call that is sent once; None: nothing changes, or it is not waited for.

    A result with `due_at` not after `now` means: send it now.
    """
    if known is not None and known.seq is not None:
        return None
    if not may_become_complete(traits):
        return Wait() if known is not None and known.due_at is not None else None
    due_at = _deadline(rules.complete, traits, known, now)
    if not is_complete(rules.complete.parts, traits) and due_at > now:
        return None if known == Wait(due_at) else Wait(due_at)
    if matches_call(rules.filters, traits.stage, traits):
        return Wait(now)
    # It may become wanted by a later change, such as the main call of its conversation.
    return Wait() if known != Wait() else None


def _deadline(rules: Completeness, traits: CallTraits, known: Wait | None, now: datetime) -> datetime:
    if known is not None and known.due_at is not None:
        return known.due_at
    return (traits.ended_at or now) + timedelta(seconds=rules.longest_wait_seconds)


def last_of_calls(changes: Iterable[ReadChange]) -> dict[str, ReadChange]:
    """Return the last change of each call."""
    return {one.call_id: one for one in changes}


def choose_groups(endpoints: Sequence[Endpoint], batch: int) -> list[list[Endpoint]]:
    """Group endpoints whose next changes are read together: those that are up to date, and the last ones.

    So an endpoint that is far behind delays no other.
    """
    if not endpoints:
        return []
    highest = max(one.position for one in endpoints)
    ahead = [one for one in endpoints if one.position > highest - batch]
    behind = [one for one in endpoints if one.position <= highest - batch]
    lowest = min((one.position for one in behind), default=0)
    return [ahead, *([[one for one in behind if one.position < lowest + batch]] if behind else [])]


def next_position(endpoint: Endpoint, read_to: int) -> int:
    """Return the position of an endpoint after a read; it never goes back."""
    return max(endpoint.position, read_to)


def undelivered(changes: Iterable[ReadChange], delivered: Collection[int]) -> list[ReadChange]:
    """Return the changes without those that were delivered."""
    return [one for one in changes if one.seq not in delivered]
