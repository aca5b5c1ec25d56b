"""Decides what an attempt means: for its message, when it is tried again, and for its endpoint. No I/O."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from app.push.endpoints.model import Condition, DisabledReason

RETRY_SECONDS = (5, 300, 1_800, 7_200, 18_000, 36_000, 36_000)
"""The pauses after each failed attempt; after the last attempt a message is given up, 27.6 h later."""

EARLY_PART = 0.1
"""The part of its pause that a message waits at least, when a success ends a failure of its endpoint."""

DISABLED_AFTER = timedelta(days=5)
FAILURES_BEFORE_DISABLING = 1 + len(RETRY_SECONDS)
"""An endpoint is disabled after five days without a success, but not for one message alone."""

LONGEST_HOLD_SECONDS = 36_000.0
"""A longer `Retry-After` counts as this."""

PROBE_SECONDS = (5.0, 300.0)
"""The shortest and the longest pause of an endpoint that fails, between messages that try it."""

OUTAGE = timedelta(seconds=60)
"""An endpoint that failed for so long was away, whatever message was tried."""

_JITTER = 0.2
_WORKING = Condition()
_GONE = 410
_BUSY = frozenset({429, 503})
_NOT_NOW = frozenset({408, 429})


class Outcome(StrEnum):
    """What became of an attempt."""

    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Answer:
    """What an attempt brought. `status`: None if no response came; then `error` says why.

    `retry_after`: the seconds that the response asks to wait.
    """

    status: int | None = None
    retry_after: float | None = None
    error: str | None = None

    @property
    def is_success(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_gone(self) -> bool:
        return self.status == _GONE

    @property
    def is_outage(self) -> bool:
        """Whether the endpoint failed rather than refused this message."""
        return self.status is None or self.status >= 500 or self.status in _NOT_NOW


def next_attempt(
    answer: Answer, made: int, now: datetime, luck: float, condition: Condition = _WORKING
) -> datetime | None:
    """Return when a message is sent again after its `made`-th attempt failed; None: it is given up.

    `luck` is a random number from 0 to 1: retries of many messages spread by a fifth of the pause, and never
    before `Retry-After`. `condition`: of the endpoint before the attempt. One that has been away for as long
    as the last pause, for other messages too, gives nothing up.
    """
    if made > len(RETRY_SECONDS) and not (answer.is_outage and _is_away(condition, made, now)):
        return None
    pause = _pause_after(made) * (1 + _JITTER * luck)
    return now + timedelta(seconds=max(pause, _asked(answer)))


def soonest_attempt(
    answer: Answer, made: int, now: datetime, next_at: datetime, failing_since: datetime
) -> datetime:
    """Return how early a success of the endpoint may make a message due that failed now.

    One that was refused keeps its schedule. One that failed with its endpoint is due at once if that was
    away; otherwise it may be what made the endpoint fail, so it waits a part of its pause.
    """
    if not answer.is_outage:
        return next_at
    was_away = now - failing_since >= OUTAGE
    least = RETRY_SECONDS[0]
    pause = least if was_away else max(least, _pause_after(made) * EARLY_PART)
    return min(next_at, now + timedelta(seconds=max(pause, _asked(answer))))


def due_after_success(due_at: datetime, soonest_at: datetime | None, now: datetime) -> datetime:
    """Return when a waiting message is due after a success has ended a failure of its endpoint."""
    return min(due_at, max(soonest_at or due_at, now))


def _pause_after(made: int) -> float:
    return RETRY_SECONDS[min(made, len(RETRY_SECONDS)) - 1]


def _is_away(condition: Condition, made: int, now: datetime) -> bool:
    since, is_alone = condition.failing_since, condition.failures < made
    return not is_alone and since is not None and now - since >= timedelta(seconds=RETRY_SECONDS[-1])


def _asked(answer: Answer) -> float:
    return min(max(answer.retry_after or 0.0, 0.0), LONGEST_HOLD_SECONDS)


def condition_after(
    before: Condition, answers: Iterable[Answer], now: datetime, luck: float = 0.0
) -> Condition:
    """Return the condition of an endpoint after these attempts, in their order."""
    condition = before
    for answer in answers:
        condition = _after(condition, answer, now, luck)
    return condition


def _after(before: Condition, answer: Answer, now: datetime, luck: float) -> Condition:
    if answer.is_success:
        return replace(before, failures=0, failing_since=None, last_success_at=now, held_until=None)
    since = before.failing_since or now
    after = replace(before, failures=before.failures + 1, failing_since=since)
    hold = _hold_seconds(after, answer, now, luck)
    if hold:
        until = now + timedelta(seconds=hold)
        after = replace(after, held_until=max(until, before.held_until or until))
    if before.disabled_at is not None:
        return after
    if answer.is_gone:
        return replace(after, disabled_at=now, disabled_reason=DisabledReason.GONE)
    if now - since >= DISABLED_AFTER and after.failures >= FAILURES_BEFORE_DISABLING:
        return replace(after, disabled_at=now, disabled_reason=DisabledReason.FAILING)
    return after


def _hold_seconds(condition: Condition, answer: Answer, now: datetime, luck: float) -> float:
    """Return how long nothing is sent to an endpoint after a failure.

    One failure alone may be due to its message, so another message is tried at once. After that the pause is
    as long as the failure has lasted, so it doubles with each attempt.
    """
    if answer.status in _BUSY and answer.retry_after:
        return _asked(answer)
    if not answer.is_outage or condition.failures < 2:
        return 0.0
    shortest, longest = PROBE_SECONDS
    lasted = (now - (condition.failing_since or now)).total_seconds()
    return min(max(lasted, shortest), longest) * (1 + _JITTER * luck)


def ends_failure(before: Condition, answers: Iterable[Answer]) -> bool:
    """Whether one of these attempts succeeds after one that failed."""
    failures = before.failures
    for answer in answers:
        if answer.is_success and failures:
            return True
        failures += not answer.is_success
    return False


def ends_turn(answer: Answer, condition: Condition) -> bool:
    """Whether nothing more is sent in this turn. `condition`: of the endpoint when the turn began.

    After a failure of the endpoint the other messages are not tried. The first success of one that failed
    makes more messages due, and more requests at the same time possible.
    """
    if answer.is_success:
        return condition.failures > 0
    return answer.is_outage or answer.is_gone


def place_of(attempts: int, condition: Condition) -> int:
    """Return the place of a message in a turn, by its attempts.

    An endpoint that fails is tried with what failed least often: what failed may be what makes it fail.
    """
    return attempts if condition.failures else 0


def requests_at_once(wanted: int, condition: Condition) -> int:
    """Return how many requests may run at the same time: an endpoint that fails gets them one by one."""
    return 1 if condition.failures else wanted
