"""An endpoint, its messages and its outages, played with the decisions of the retry plan. No I/O."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from app.push.endpoints.model import Condition
from app.push.sending.retry_plan import (
    Answer,
    condition_after,
    due_after_success,
    ends_failure,
    ends_turn,
    next_attempt,
    place_of,
    requests_at_once,
    soonest_attempt,
)
from tests.fakes.clock import START

CONFIRMED, REFUSED, NO_RESPONSE = Answer(204), Answer(400), Answer(error="connection")
_SECONDS_OF_A_TURN = 5.0


@dataclass
class Sent:
    """A message as the database has it. `is_given_up`: None until it is settled."""

    seq: int
    call: int
    due_at: datetime
    soonest_at: datetime | None = None
    attempts: int = 0
    tried_at: list[datetime] = field(default_factory=list)
    is_given_up: bool | None = None


@dataclass
class Played:
    """What became of an endpoint. `successes`: the times at which one ended a failure."""

    messages: list[Sent]
    condition: Condition
    recoveries: list[datetime]
    settled: list[Sent]
    ended_at: datetime


def play(
    arrivals: Sequence[tuple[float, int]],
    answer: Callable[[Sent, float], Answer],
    *,
    at_once: int = 1,
    seconds: float = 0.05,
    until: float = 1e9,
) -> Played:
    """Send messages that arrive at these seconds, each of a call, until none waits or the time is over.

    `answer`: what a message brings at a second; each request takes `seconds`.
    """
    return _Play(arrivals, answer, at_once, seconds, until).run()


class _Play:
    def __init__(
        self,
        arrivals: Sequence[tuple[float, int]],
        answer: Callable[[Sent, float], Answer],
        at_once: int,
        seconds: float,
        until: float,
    ) -> None:
        self._coming = [
            Sent(seq, call, START + timedelta(seconds=at))
            for seq, (at, call) in enumerate(sorted(arrivals, key=lambda one: one[0]))
        ]
        self._messages = list(self._coming)
        self._waiting: list[Sent] = []
        self._answer = answer
        self._at_once = at_once
        self._seconds = timedelta(seconds=seconds)
        self._until = START + timedelta(seconds=until)
        self._now = START
        self._condition = Condition()
        self._recoveries: list[datetime] = []
        self._settled: list[Sent] = []

    def run(self) -> Played:
        while self._condition.disabled_at is None:
            begins = self._next_begin()
            if begins is None or begins > self._until:
                break
            self._now = max(self._now, begins)
            self._arrive()
            due = [one for one in self._waiting if one.due_at <= self._now]
            if due and (self._condition.held_until or self._now) <= self._now:
                self._take_turn(sorted(due, key=lambda one: one.seq))
        return Played(self._messages, self._condition, self._recoveries, self._settled, self._now)

    def _next_begin(self) -> datetime | None:
        held_until = self._condition.held_until or START
        times = [max(one.due_at, held_until) for one in self._waiting]
        return min([*times, *(one.due_at for one in self._coming[:1])], default=None)

    def _arrive(self) -> None:
        while self._coming and self._coming[0].due_at <= self._now:
            new = self._coming.pop(0)
            earlier = [one for one in self._waiting if one.call == new.call]
            if earlier:
                new.soonest_at = max(one.soonest_at or one.due_at for one in earlier)
                new.due_at = max(new.due_at, *(one.due_at for one in earlier))
            self._waiting.append(new)

    def _take_turn(self, due: Sequence[Sent]) -> None:
        began, condition = self._now, self._condition
        chains = sorted(_by_call(due), key=lambda chain: place_of(chain[0].attempts, condition))
        at_once = requests_at_once(self._at_once, condition)
        while chains and (self._now - began).total_seconds() < _SECONDS_OF_A_TURN:
            running, chains = chains[:at_once], chains[at_once:]
            sent = [(chain, self._answer(chain[0], self._second())) for chain in running]
            for chain, _ in sent:
                chain[0].tried_at.append(self._now)
            self._now += self._seconds
            for chain, brought in sent:
                self._settle(chain[0], brought, condition)
            if any(ends_turn(brought, condition) for _, brought in sent):
                return
            chains += [chain[1:] for chain, _ in sent if chain[1:] and chain[0].is_given_up is not None]

    def _second(self) -> float:
        return (self._now - START).total_seconds()

    def _settle(self, message: Sent, brought: Answer, of_turn: Condition) -> None:
        before, now = self._condition, self._now
        self._condition = condition_after(before, [brought], now)
        message.attempts += 1
        if brought.is_success:
            self._end(message, is_given_up=False)
            if ends_failure(before, [brought]):
                self._recoveries.append(now)
                for one in self._waiting:
                    one.due_at = due_after_success(one.due_at, one.soonest_at, now)
            return
        next_at = next_attempt(brought, message.attempts, now, 0.0, of_turn)
        if next_at is None:
            self._end(message, is_given_up=True)
            return
        since = self._condition.failing_since
        assert since is not None
        soonest_at = soonest_attempt(brought, message.attempts, now, next_at, since)
        for one in self._waiting:
            if one.call == message.call and one.seq >= message.seq:
                one.soonest_at = max(one.soonest_at or one.due_at, soonest_at)
                one.due_at = max(one.due_at, next_at)

    def _end(self, message: Sent, *, is_given_up: bool) -> None:
        message.is_given_up = is_given_up
        self._waiting.remove(message)
        self._settled.append(message)


def _by_call(messages: Sequence[Sent]) -> Iterator[list[Sent]]:
    chains: dict[int, list[Sent]] = defaultdict(list)
    for one in messages:
        chains[one.call].append(one)
    yield from chains.values()
