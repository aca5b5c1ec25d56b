"""A retry at the estimated time has a real chance, however busy the bucket is."""

import random
from datetime import timedelta

import pytest

from app.rate_limits.bucket import Denied, Granted, Limits, RateResponse, admit, settle
from app.rate_limits.bucket_state import BucketState
from app.rate_limits.retry_after import estimate_retry_at, noted_until
from app.ringcentral.ports import Priority
from tests.fakes.clock import START

LIMITS = Limits()
PATIENCE = timedelta(seconds=5)
WINDOW = timedelta(seconds=LIMITS.window_seconds)


class Bucket:
    """A bucket that others use, each as often as stated, as soon as it is allowed."""

    def __init__(self, others: dict[Priority, float], *, polls_waiting: bool) -> None:
        self.now = START
        self._chance = random.Random(1)
        self._state = BucketState()
        self._polls_waiting = polls_waiting
        self._others = others
        self._next = dict.fromkeys(others, START)

    def ask(self, priority: Priority) -> Granted | Denied:
        answer = admit(self._state, priority, self.now, LIMITS, polls_waiting=self._polls_waiting)
        self._state = answer.state
        if isinstance(answer, Granted):
            answered_at = self.now + timedelta(milliseconds=300)
            self._state = settle(self._state, answer.token, RateResponse(200), answered_at, LIMITS)
        return answer

    def let_others_ask_until(self, moment: timedelta) -> None:
        until = START + moment
        while self._next and min(self._next.values()) <= until:
            priority = min(self._next, key=lambda one: self._next[one])
            self.now = self._next[priority]
            answer = self.ask(priority)
            pause = timedelta(seconds=self._others[priority] * self._chance.uniform(0.7, 1.3))
            again_at = self.now + pause if isinstance(answer, Granted) else answer.until
            self._next[priority] = max(again_at, self.now + timedelta(milliseconds=10))
        self.now = until

    def read(self) -> timedelta | None:
        """Send a request as a reader who waits a moment; return how long to wait, None if it was granted."""
        came_at = self.now
        while isinstance(answer := self.ask(Priority.CONTENT), Denied):
            if answer.until > came_at + PATIENCE:
                chance = estimate_retry_at(
                    answer, Priority.CONTENT, LIMITS, polls_waiting=self._polls_waiting
                )
                self._state = noted_until(self._state, Priority.CONTENT, chance, LIMITS)
                return chance - self.now
            self.let_others_ask_until(answer.until - START)
        return None


@pytest.mark.parametrize("polls_waiting", [True, False])
@pytest.mark.parametrize(
    "others",
    [
        {Priority.POLL: 0.5},
        {Priority.POLL: 5.5},
        {Priority.POLL: 8.0},
        {Priority.POLL: 12.0},
        {Priority.POLL: 20.0, Priority.RECONCILE: 8.0},
        {Priority.POLL: 0.5, Priority.RECONCILE: 10.0},
    ],
)
def test_a_reader_that_returns_at_the_estimate_is_granted(
    others: dict[Priority, float], polls_waiting: bool
) -> None:
    bucket = Bucket(others, polls_waiting=polls_waiting)
    away: list[int] = []
    for _ in range(20):
        bucket.let_others_ask_until(bucket.now - START + 5 * WINDOW)
        times = 0
        while (pause := bucket.read()) is not None:
            assert pause <= 3 * WINDOW
            bucket.let_others_ask_until(bucket.now - START + pause)
            times += 1
        away.append(times)
    assert max(away) <= 2
    assert sum(times > 1 for times in away) <= 2, "hardly anybody is sent away twice"


def test_without_competition_the_estimate_is_the_next_slot_for_readers() -> None:
    bucket = Bucket({}, polls_waiting=False)
    while (pause := bucket.read()) is None:
        bucket.let_others_ask_until(bucket.now - START + timedelta(seconds=1))
    assert timedelta(seconds=45) < pause < WINDOW + timedelta(seconds=2)


def test_the_estimate_includes_a_penalty() -> None:
    state = BucketState(penalty_until=START + timedelta(seconds=42))
    answer = admit(state, Priority.CONTENT, START, LIMITS)
    assert isinstance(answer, Denied)
    assert estimate_retry_at(answer, Priority.CONTENT, LIMITS, polls_waiting=False) == START + timedelta(
        seconds=42
    )


def test_only_the_waiting_kind_stays_noted() -> None:
    busy = BucketState()
    for _ in range(10):
        busy = admit(busy, Priority.POLL, START, LIMITS).state
    for priority in (Priority.CONTENT, Priority.RECONCILE):
        busy = admit(busy, priority, START, LIMITS).state
    later = START + timedelta(seconds=120)
    before = {want.priority: want.until for want in busy.wants}
    after = {want.priority: want.until for want in noted_until(busy, Priority.CONTENT, later, LIMITS).wants}
    assert after == before | {Priority.CONTENT: later + WINDOW / 4}
