"""The limit holds at an independent server, with any replicas, latencies and crashes.

The server here shares no code with `bucket`: it is a list of arrivals, a sliding window and a restarting
penalty.
"""

import heapq
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from app.rate_limits import bucket as budget
from app.rate_limits.bucket import NO_ANSWER, Granted, Limits, RateResponse
from app.rate_limits.bucket_state import BucketState, RequestSlot, Want
from app.ringcentral.ports import Priority

NOW = datetime(2026, 3, 10, 18, 0, tzinfo=UTC)
LIMITS = Limits(limit=4, window_seconds=6.0, penalty_seconds=6.0, request_timeout_seconds=3.0)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


STORED = [priority for priority in Priority if priority <= Priority.CONTENT]
"""Kinds of request that a bucket distinguishes: READER and GLANCE are stored as CONTENT."""


@dataclass
class Server:
    """Counts arrivals in (now - window, now]. Refuses beyond the limit, and each request in the penalty
    restarts it.
    """

    limit: int
    arrivals: list[float] = field(default_factory=list)
    penalty_until: float = -1.0
    refused: int = 0
    broken_penalties: int = 0

    def arrive(self, now: float, *, ours: bool = True) -> tuple[int, int]:
        self.arrivals = [arrival for arrival in self.arrivals if arrival > now - LIMITS.window_seconds]
        if now < self.penalty_until or len(self.arrivals) >= self.limit:
            self.refused += 1
            self.broken_penalties += ours and now < self.penalty_until
            self.penalty_until = now + LIMITS.penalty_seconds
            return 429, 0
        self.arrivals.append(now)
        return 200, self.limit - len(self.arrivals)


@dataclass(frozen=True)
class Attempt:
    """After `pause` seconds a replica sends a request; it arrives and is answered after these shares of the
    timeout.
    """

    pause: float
    priority: Priority
    arrives: float
    answered: float
    crashes: bool
    polls_waiting: bool


attempts = st.lists(
    st.builds(
        Attempt,
        pause=st.one_of(st.just(0.0), st.floats(0.0, 0.3), st.floats(0.0, 4.0)),
        priority=st.sampled_from(Priority),
        arrives=st.floats(0.0, 1.0),
        answered=st.one_of(st.floats(0.0, 0.1), st.floats(0.0, 1.0)),
        crashes=st.integers(0, 9).map(lambda number: number == 0),
        polls_waiting=st.booleans(),
    ),
    max_size=60,
)


class World:
    """Replicas that share one stored JSON value; each attempt may be made by another replica."""

    def __init__(self, server: Server, *, headers: bool) -> None:
        self.server = server
        self.headers = headers
        self.stored = "{}"
        self.events: list[tuple[float, int, str, int, Attempt]] = []
        self.answers: dict[int, RateResponse] = {}
        self.sent_after_refusal: list[float] = []
        self.known_penalty_until = -1.0
        self.granted = 0
        self.serial = 0

    def load(self) -> BucketState:
        return BucketState.from_json(json.loads(self.stored))

    def store(self, state: BucketState) -> None:
        self.stored = json.dumps(state.to_json())

    def play(self, plan: list[Attempt], *, foreign_at: float | None = None) -> None:
        now = 0.0
        for attempt in plan:
            now += attempt.pause
            self.catch_up(now)
            if foreign_at is not None and now >= foreign_at and self.server.penalty_until < 0:
                self.server.arrive(now, ours=False)
            self.ask(attempt, now)
        self.catch_up(now + 1000.0)

    def ask(self, attempt: Attempt, now: float) -> None:
        verdict = budget.admit(
            self.load(), attempt.priority, at(now), LIMITS, polls_waiting=attempt.polls_waiting
        )
        self.store(verdict.state)
        if not isinstance(verdict, Granted):
            assert verdict.until > at(now)
            return
        self.granted += 1
        assert now >= self.known_penalty_until
        done = now + attempt.answered * LIMITS.request_timeout_seconds
        arrival = now + attempt.arrives * (done - now)
        self.push(arrival, "arrive", verdict.token, attempt)
        if not attempt.crashes:
            self.push(done, "answer", verdict.token, attempt)

    def push(self, when: float, what: str, token: int, attempt: Attempt) -> None:
        self.serial += 1
        heapq.heappush(self.events, (when, self.serial, what, token, attempt))

    def catch_up(self, until: float) -> None:
        while self.events and self.events[0][0] <= until:
            now, _, what, token, _ = heapq.heappop(self.events)
            if what == "arrive":
                status, remaining = self.server.arrive(now)
                window = LIMITS.window_seconds
                self.answers[token] = (
                    RateResponse(status, self.server.limit, remaining, window)
                    if self.headers
                    else RateResponse(status)
                )
                continue
            answer = self.answers.get(token, NO_ANSWER)
            if answer.status == 429:
                self.known_penalty_until = max(self.known_penalty_until, now + LIMITS.penalty_seconds)
            self.store(budget.settle(self.load(), token, answer, at(now), LIMITS))


@given(plan=attempts, headers=st.booleans())
def test_the_server_never_refuses_replicas_that_share_the_bucket(plan: list[Attempt], headers: bool) -> None:
    world = World(Server(LIMITS.limit), headers=headers)
    world.play(plan)
    assert world.server.refused == 0


@given(plan=attempts)
def test_other_programs_are_not_assumed_without_evidence(plan: list[Attempt]) -> None:
    world = World(Server(LIMITS.limit), headers=True)
    world.play(plan)
    tokens = [slot.token for slot in world.load().slots]
    assert 0 not in tokens


@given(plan=attempts, limit=st.integers(1, 9))
def test_a_limit_that_differs_from_the_settings_is_kept_once_it_is_known(
    plan: list[Attempt], limit: int
) -> None:
    world = World(Server(limit), headers=True)
    world.store(BucketState(limit=limit))
    world.play(plan)
    assert world.server.refused == 0


@given(plan=attempts, foreign_at=st.floats(0.0, 20.0), headers=st.booleans())
def test_no_request_is_sent_inside_a_penalty_caused_by_others(
    plan: list[Attempt], foreign_at: float, headers: bool
) -> None:
    # `World.ask` holds every grant against the penalties that answers have told of.
    world = World(Server(LIMITS.limit), headers=headers)
    world.play(plan, foreign_at=foreign_at)
    # Those under way when the penalty began may arrive in it; a later one may not, and so cannot start it
    # anew.
    assert world.server.broken_penalties <= world.granted
    state = world.load()
    quiet = max(at(2000.0), budget.poll_times(state, at(2000.0), LIMITS)[0])
    assert quiet == at(2000.0)


@given(plan=attempts)
def test_a_penalty_ends_if_nothing_is_sent_in_it(plan: list[Attempt]) -> None:
    server = Server(LIMITS.limit, penalty_until=0.5)
    world = World(server, headers=False)
    world.play(plan)
    # Requests can run into the first penalty unknowing; each of those was under way before its first answer.
    last_answer = world.known_penalty_until
    late = [
        arrival for arrival in server.arrivals if arrival < last_answer and server.penalty_until > arrival
    ]
    assert not late or server.refused > 0


@settings(max_examples=50)
@given(
    since=st.floats(0.0, 60.0),
    polls=st.floats(0.05, 0.5),
    log_every=st.floats(0.05, 1.0),
    limit=st.integers(2, 12),
)
def test_reconciliation_is_never_starved_by_polls(
    since: float, polls: float, log_every: float, limit: int
) -> None:
    limits = Limits(limit=limit, window_seconds=6.0, penalty_seconds=6.0, request_timeout_seconds=3.0)
    state, poll_at, log_at, had = BucketState(), 0.0, since, 0
    # At worst once in two windows and the time between two polls. Each slot keeps a margin to its window.
    longest = 2 * limits.window_seconds * (1.0 + 2 * limits.margin_share) + polls
    while min(poll_at, log_at) < since + 5 * longest:
        now = min(poll_at, log_at)
        priority = Priority.POLL if poll_at <= log_at else Priority.RECONCILE
        verdict = budget.admit(state, priority, at(now), limits, polls_waiting=True)
        state = verdict.state
        if isinstance(verdict, Granted):
            state = budget.settle(state, verdict.token, RateResponse(200), at(now), limits)
            had += priority is Priority.RECONCILE
        if priority is Priority.POLL:
            poll_at = now + polls
        else:
            back = now + log_every if isinstance(verdict, Granted) else (verdict.until - NOW).total_seconds()
            log_at = max(back, now + 1e-3)
    assert had >= 5


moments = st.integers(0, 10**15).map(
    lambda micros: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
)
states = st.builds(
    BucketState,
    slots=st.lists(
        st.builds(RequestSlot, st.integers(0, 10**9), st.sampled_from(STORED), moments, st.none() | moments),
        max_size=12,
    ).map(tuple),
    wants=st.lists(
        st.builds(
            Want, st.sampled_from(STORED).filter(lambda one: one is not Priority.POLL), moments, moments
        ),
        max_size=3,
        unique_by=lambda want: want.priority,
    ).map(tuple),
    penalty_until=st.none() | moments,
    limit=st.none() | st.integers(1, 100),
    window_seconds=st.none() | st.floats(0.1, 3600.0),
    last_token=st.integers(10**9, 10**10),
)


@given(states)
def test_any_bucket_survives_json(state: BucketState) -> None:
    assert BucketState.from_json(json.loads(json.dumps(state.to_json()))) == state


@given(plan=attempts)
def test_slots_reported_free_are_granted(plan: list[Attempt]) -> None:
    world = World(Server(LIMITS.limit), headers=True)
    world.play(plan)
    now, state = 1500.0, world.load()
    for _ in range(budget.free_slots(state, at(now), LIMITS)):
        verdict = budget.admit(state, Priority.POLL, at(now), LIMITS)
        assert isinstance(verdict, Granted)
        state = verdict.state
    assert not isinstance(budget.admit(state, Priority.POLL, at(now), LIMITS), Granted)
