"""How long a call is visible in Active Calls before a poll finds it: our planner and three others, in virtual
time.

    python -m bench.planner [--json] [--quick]

The code measured is the service's own: `planner.plan_poll`, `budget.admit` and `settle`, `visibility.learn`.
The simulated server keeps its own account of a sliding window and a restarting penalty. A call becomes
visible 3-10 s after its end (triangular, mode 5 s) and leaves 120 s after it; the service is told of the end
3.1 s late. A request takes 0.2 s, and one request shows all calls (one page). *Excess* is the time from a
call's becoming visible to the moment at which the server makes the answer that has it; the answer's way back
(0.1 s) is the same for every policy and not in it. Calls that leave before anybody found them are *lost* and
not in mean and percentiles.

Policies:

- `aftercall`: the service's own. It knows neither rate, pattern nor distribution, and starts with an empty
  history.
- `aftercall x2`: the same with two users who see the whole account, each with a limit of its own.
- `aftercall+log`: as `aftercall`, sharing its bucket with a Call Log read that wants to run every 30 s.
- `per call`: every call polls for itself, 5 s after its end and every 5 s from then on until it is found.
- `fixed 6 s`: one shared poll, every 6 s while somebody waits: to the microsecond, for with 10 in 60 s any
  jitter
  would bring the penalty.
- `bound`: no schedule can have a lower mean, not even one that knows the future. It may place as many
  requests as the
  limit allows in the whole time wherever it likes, regardless of the sliding window, and pays for them what a
  Lagrange multiplier asks (the best dual value is the bound; the schedules are found exactly by dynamic
  programming).
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import random
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from app.enrichment.polling import call_rate as rhythm
from app.enrichment.polling import planner, visibility
from app.enrichment.polling.limits import PlannerLimits
from app.enrichment.polling.pooling import pick_bucket, pool_budgets
from app.rate_limits import bucket as budget
from app.rate_limits.bucket_state import BucketState
from app.ringcentral.ports import Priority

RATES: Final = (0.5, 1.0, 3.0, 10.0, 30.0, 60.0, 100.0, 300.0, 1000.0)
FEW_RATES: Final = (1.0, 10.0, 60.0, 300.0)
"""For `--quick`, and for the policy that shares its bucket."""

CROWDED_RATE: Final = 300.0

SEEDS: Final = (11, 12, 13)
PATTERNS: Final = ("steady", "burst")
LIMIT, SLIDING_SECONDS, PENALTY_SECONDS = 10, 60.0, 60.0
WINDOW_SECONDS: Final = 120.0
LAG_SECONDS: Final = (3.0, 5.0, 10.0)
TOLD_AFTER_SECONDS: Final = 3.1
ROUND_TRIP_SECONDS: Final = 0.2
CALL_LOG_EVERY_SECONDS: Final = 30.0
REPLAN_SECONDS: Final = 0.5
"""At most this often the plan is made anew because another call has ended."""

TABLE_WIDTH: Final = 112
START: Final = datetime(2026, 3, 10, 9, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Call:
    """Seconds since the start."""

    ended: float
    visible: float

    @property
    def closes(self) -> float:
        return self.ended + WINDOW_SECONDS


@dataclass(slots=True)
class Outcome:
    """What one policy achieved on one history."""

    excess: list[float] = field(default_factory=list)
    lost: int = 0
    refused: int = 0
    requests: int = 0
    log_reads: int = 0
    minutes: float = 0.0
    bound: float | None = None


class Server:
    """The other side's limiter: a sliding window, and a penalty that every request inside it starts anew."""

    def __init__(self) -> None:
        self._counted: deque[float] = deque()
        self._penalty_until = -math.inf

    def arrive(self, at: float) -> tuple[bool, int]:
        """Whether a request that arrives now is answered, and how many remain."""
        while self._counted and self._counted[0] <= at - SLIDING_SECONDS + 1e-6:
            self._counted.popleft()
        if at < self._penalty_until or len(self._counted) >= LIMIT:
            self._penalty_until = at + PENALTY_SECONDS
            return False, 0
        self._counted.append(at)
        return True, LIMIT - len(self._counted)


def draw_calls(rate: float, pattern: str, minutes: float, seed: int) -> list[Call]:
    """Calls of a Poisson process; in bursts four times the rate for one minute in five, else a quarter."""
    chance = random.Random(f"{seed}/{rate}/{pattern}")
    peak = rate / 60.0 * (4.0 if pattern == "burst" else 1.0)
    calls: list[Call] = []
    at = chance.expovariate(peak)
    while at < minutes * 60.0:
        quiet = pattern == "burst" and int(at // 60.0) % 5 != 2
        if not quiet or chance.random() < 1.0 / 16.0:
            low, mode, high = LAG_SECONDS
            calls.append(Call(at, at + chance.triangular(low, high, mode)))
        at += chance.expovariate(peak)
    return calls


class Aftercall:
    """The service's poller, reduced to its decisions: plan, admit, ask, settle, learn."""

    def __init__(self, calls: Sequence[Call], *, with_log: bool, users: int = 1) -> None:
        self.calls = calls
        self.with_log = with_log
        self.servers = [Server() for _ in range(users)]
        self.outcome = Outcome()
        self.planner_limits = PlannerLimits()
        self.limits = budget.Limits()
        self.buckets = [BucketState()] * users
        self.visibility = visibility.prior_visibility(WINDOW_SECONDS, LAG_SECONDS[0], LAG_SECONDS[2])
        self.rhythm = rhythm.begin_rhythm(START, self.planner_limits)
        self.waiting: dict[int, planner.Waiting] = {}
        self.plan_at = math.inf
        self.planned_at = -math.inf
        self.asking: tuple[float, int, int] | None = None
        """When it was sent, its user, its token."""
        self.log_at = CALL_LOG_EVERY_SECONDS if with_log else math.inf
        self.log_answer: tuple[float, int] | None = None

    def run(self) -> Outcome:
        told = 0
        while True:
            tells = self.calls[told].ended + TOLD_AFTER_SECONDS if told < len(self.calls) else math.inf
            answers = self.asking[0] + ROUND_TRIP_SECONDS if self.asking else math.inf
            plans = math.inf if self.asking else self.plan_at
            if min(tells, answers, plans) == math.inf and not self.waiting:
                return self.outcome
            logs = self.log_answer[0] + ROUND_TRIP_SECONDS if self.log_answer else self.log_at
            now = min(tells, answers, plans, logs)
            if now == tells:
                self._hear(told, now)
                told += 1
            elif now == answers:
                self._take_answer(now)
            elif now == logs:
                self._read_log(now)
            else:
                self._plan(now)

    def _hear(self, index: int, now: float) -> None:
        call = self.calls[index]
        self.waiting[index] = planner.Waiting(_moment(call.ended))
        self.rhythm = rhythm.count_ends(self.rhythm, [_moment(call.ended)], _moment(now))
        self.plan_at = min(self.plan_at, max(now, self.planned_at + REPLAN_SECONDS))

    def _plan(self, now: float) -> None:
        for index in [index for index in self.waiting if self.calls[index].closes <= now]:
            del self.waiting[index]
            self.outcome.lost += 1
        moment = _moment(now)
        self.planned_at = now
        self.rhythm = rhythm.count_ends(self.rhythm, (), moment)
        views = [
            planner.PlannerBudget(
                budget.poll_times(bucket, moment, self.limits), budget.cycle_seconds(bucket, self.limits)
            )
            for bucket in self.buckets
        ]
        waiting, view = list(self.waiting.values()), pool_budgets(views)
        plan = planner.plan_poll(waiting, view, self.visibility, self.rhythm, moment, self.planner_limits)
        if isinstance(plan, planner.Rest):
            closes = (self.calls[index].closes for index in self.waiting)
            self.plan_at = min(closes, default=math.inf)
        elif plan.when > moment:
            self.plan_at = (plan.when - START).total_seconds()
        else:
            self._ask(now, pick_bucket(views, moment))

    def _ask(self, now: float, user: int) -> None:
        verdict = budget.admit(self.buckets[user], Priority.POLL, _moment(now), self.limits)
        self.buckets[user] = verdict.state
        if isinstance(verdict, budget.Denied):
            self.plan_at = (verdict.until - START).total_seconds()
            return
        self.asking = (now, user, verdict.token)
        self.plan_at = math.inf
        self.outcome.requests += 1

    def _take_answer(self, now: float) -> None:
        assert self.asking is not None
        sent, user, token = self.asking
        self.asking = None
        arrived = sent + ROUND_TRIP_SECONDS / 2.0
        self._settle(user, token, arrived, now)
        looks: list[visibility.Observation] = []
        for index, waiting in list(self.waiting.items()):
            call = self.calls[index]
            if call.visible <= arrived < call.closes:
                self.outcome.excess.append(arrived - call.visible)
                unseen = (
                    0.0
                    if waiting.missed_at is None
                    else (waiting.missed_at - waiting.ended_at).total_seconds()
                )
                looks.append(visibility.Observation(max(0.0, unseen), now - call.ended))
                del self.waiting[index]
            else:
                self.waiting[index] = planner.Waiting(waiting.ended_at, missed_at=_moment(sent))
        self.visibility = visibility.learn(self.visibility, looks)
        self.plan_at = now

    def _read_log(self, now: float) -> None:
        if self.log_answer is not None:
            sent, token = self.log_answer
            self.log_answer = None
            self._settle(-1, token, sent + ROUND_TRIP_SECONDS / 2.0, now)
            self.log_at = sent + CALL_LOG_EVERY_SECONDS
            return
        verdict = budget.admit(
            self.buckets[-1],
            Priority.RECONCILE,
            _moment(now),
            self.limits,
            polls_waiting=bool(self.waiting),
        )
        self.buckets[-1] = verdict.state
        if isinstance(verdict, budget.Denied):
            self.log_at = (verdict.until - START).total_seconds()
            return
        self.log_answer = (now, verdict.token)
        self.outcome.requests += 1
        self.outcome.log_reads += 1

    def _settle(self, user: int, token: int, arrived: float, now: float) -> None:
        served, remaining = self.servers[user].arrive(arrived)
        self.outcome.refused += not served
        answer = budget.RateResponse(200 if served else 429, LIMIT, remaining, SLIDING_SECONDS)
        bucket = self.buckets[user]
        self.buckets[user] = budget.settle(bucket, token, answer, _moment(now), self.limits)


def run_per_call(calls: Sequence[Call]) -> Outcome:
    """Every call for itself, 5 s apart, heedless of 429."""
    server, outcome = Server(), Outcome()
    due = [(call.ended + 5.0, index) for index, call in enumerate(calls)]
    heapq.heapify(due)
    while due:
        sent, index = heapq.heappop(due)
        call, arrived = calls[index], sent + ROUND_TRIP_SECONDS / 2.0
        if arrived >= call.closes:
            outcome.lost += 1
            continue
        outcome.requests += 1
        served, _ = server.arrive(arrived)
        outcome.refused += not served
        if served and call.visible <= arrived:
            outcome.excess.append(arrived - call.visible)
        else:
            heapq.heappush(due, (sent + 5.0, index))
    return outcome


def run_fixed(calls: Sequence[Call]) -> Outcome:
    """One shared poll every 6 s while somebody waits."""
    server, outcome = Server(), Outcome()
    waiting: list[Call] = []
    told, sent = 0, -math.inf
    while told < len(calls) or waiting:
        known = [call.ended + TOLD_AFTER_SECONDS for call in waiting[:1] or calls[told : told + 1]]
        sent = max(sent + 6.0, known[0])
        arrived = sent + ROUND_TRIP_SECONDS / 2.0
        while told < len(calls) and calls[told].ended + TOLD_AFTER_SECONDS <= sent:
            waiting.append(calls[told])
            told += 1
        outcome.requests += 1
        served, _ = server.arrive(arrived)
        outcome.refused += not served
        outcome.lost += sum(1 for call in waiting if call.closes <= arrived)
        waiting = [call for call in waiting if arrived < call.closes]
        if served:
            outcome.excess += [arrived - call.visible for call in waiting if call.visible <= arrived]
            waiting = [call for call in waiting if call.visible > arrived]
    return outcome


def bound_excess(calls: Sequence[Call], minutes: float) -> float:
    """A mean excess that no schedule with the allowed number of requests can undercut: a dual value, so a
    true bound."""
    moments = sorted(call.visible for call in calls)
    allowed = LIMIT * math.ceil(minutes + WINDOW_SECONDS / 60.0 + 1.0)
    low, high, best = 0.0, 40.0 * len(moments) / minutes + 10.0, 0.0
    for _ in range(14):
        price = (low + high) / 2.0
        cost, requests = _cheapest_schedule(moments, price)
        best = max(best, cost - price * allowed)
        low, high = (price, high) if requests > allowed else (low, price)
    return best / len(moments)


def _cheapest_schedule(moments: Sequence[float], price: float) -> tuple[float, int]:
    """Least sum of waiting and of price per request, each request at a moment when a call appears.

    The request at moment j finds the calls after the one before it, i: they wait (j - i) x v_j less the sum
    of their own moments. For each i that is a line over v_j; the lowest line is found on an envelope.
    """
    slopes: list[float] = [0.0]
    heights: list[float] = [0.0]
    counts: list[int] = [0]
    head, summed, cost, requests = 0, 0.0, 0.0, 0
    for number, at in enumerate(moments, start=1):
        summed += at
        while (
            head + 1 < len(slopes)
            and slopes[head + 1] * at + heights[head + 1] <= slopes[head] * at + heights[head]
        ):
            head += 1
        cost = slopes[head] * at + heights[head] + number * at - summed + price
        requests = counts[head] + 1
        slope, height = -float(number), cost + summed
        while len(slopes) > head + 1 and (height - heights[-2]) * (slopes[-2] - slopes[-1]) <= (
            heights[-1] - heights[-2]
        ) * (slopes[-2] - slope):
            slopes.pop()
            heights.pop()
            counts.pop()
        slopes.append(slope)
        heights.append(height)
        counts.append(requests)
    return cost, requests


def run_bound(calls: Sequence[Call], minutes: float) -> Outcome:
    return Outcome(bound=bound_excess(calls, minutes))


POLICIES: Final[dict[str, Callable[[Sequence[Call], float], Outcome]]] = {
    "aftercall": lambda calls, _: Aftercall(calls, with_log=False).run(),
    "aftercall x2": lambda calls, _: Aftercall(calls, with_log=False, users=2).run(),
    "aftercall+log": lambda calls, _: Aftercall(calls, with_log=True).run(),
    "per call": lambda calls, _: run_per_call(calls),
    "fixed 6 s": lambda calls, _: run_fixed(calls),
    "bound": run_bound,
}


def minutes_for(rate: float, *, quick: bool) -> float:
    """Long enough for some hundred calls at low rates, and for some bursts at high ones."""
    calls, least = (100.0, 10.0) if quick else (500.0, 20.0)
    return max(least, math.ceil(calls / rate / 5.0) * 5.0)


def measure(rate: float, pattern: str, policy: str, seeds: Sequence[int], *, quick: bool) -> dict[str, Any]:
    """One line of the table: all seeds together."""
    minutes = minutes_for(rate, quick=quick)
    histories = [draw_calls(rate, pattern, minutes, seed) for seed in seeds]
    outcomes = [POLICIES[policy](calls, minutes) for calls in histories]
    excess = sorted(value for outcome in outcomes for value in outcome.excess)
    bounds = [outcome.bound for outcome in outcomes if outcome.bound is not None]
    calls = sum(len(history) for history in histories)
    line: dict[str, Any] = {"policy": policy, "pattern": pattern, "rate": rate, "calls": calls}
    if bounds:
        weighed = zip(bounds, histories, strict=True)
        return line | {
            "meanSeconds": _rounded(sum(bound * len(history) for bound, history in weighed) / calls)
        }
    total = minutes * len(seeds)
    return line | {
        "meanSeconds": _rounded(math.fsum(excess) / len(excess)) if excess else None,
        "p50Seconds": _quantile(excess, 0.5),
        "p99Seconds": _quantile(excess, 0.99),
        "maxSeconds": _rounded(excess[-1]) if excess else None,
        "lost": sum(outcome.lost for outcome in outcomes),
        "refused429": sum(outcome.refused for outcome in outcomes),
        "requestsPerMinute": _rounded(sum(outcome.requests for outcome in outcomes) / total),
        "logReadsPerMinute": _rounded(sum(outcome.log_reads for outcome in outcomes) / total),
    }


def judge(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The goals, each with the worst value measured for it."""
    ours = [line for line in lines if line["policy"] == "aftercall"]
    pooled = [line for line in lines if line["policy"] == "aftercall x2"]
    steady = [line for line in ours if line["pattern"] == "steady"]
    bursts = [line for line in ours if line["pattern"] == "burst"]

    def worst(of: Sequence[dict[str, Any]], key: str) -> float | None:
        values = [line[key] for line in of]
        return None if not values or None in values else max(values)

    goals: list[tuple[str, float | None, float]] = [
        (
            "steady, at most 1 call/min: mean excess s",
            worst([x for x in steady if x["rate"] <= 1], "meanSeconds"),
            1.2,
        ),
        (
            "steady, at most 3 calls/min: mean excess s",
            worst([x for x in steady if x["rate"] <= 3], "meanSeconds"),
            2.2,
        ),
        ("steady, any rate: mean excess s", worst(steady, "meanSeconds"), 3.1),
        ("steady, any rate: p99 excess s", worst(steady, "p99Seconds"), 7.0),
        ("bursts, any rate: mean excess s", worst(bursts, "meanSeconds"), 3.3),
        ("bursts, any rate: p99 excess s", worst(bursts, "p99Seconds"), 10.0),
        (
            "two users, 300 calls/min: mean excess, share of one user's",
            _share_of_one(ours, pooled),
            0.55,
        ),
        ("calls lost from the window", sum(line["lost"] for line in [*ours, *pooled]), 0),
        ("requests answered 429", sum(line["refused429"] for line in [*ours, *pooled]), 0),
    ]
    return [
        {"goal": name, "atMost": most, "measured": measured, "met": measured is not None and measured <= most}
        for name, measured, most in goals
    ]


def _share_of_one(one: Sequence[dict[str, Any]], two: Sequence[dict[str, Any]]) -> float | None:
    """The worst share over the patterns, at the rate where one user's requests are all used."""
    means = {(line["pattern"], line["rate"]): line["meanSeconds"] for line in one}
    crowded = [line for line in two if line["rate"] == CROWDED_RATE]
    shares = [line["meanSeconds"] / means[line["pattern"], CROWDED_RATE] for line in crowded]
    return _rounded(max(shares)) if shares else None


def run_all(*, quick: bool) -> dict[str, Any]:
    """Measure everything; the dictionary that `--json` prints."""
    started = time.perf_counter()
    seeds = SEEDS[:2] if quick else SEEDS
    lines = list(_lines(FEW_RATES if quick else RATES, seeds, quick=quick))
    return {
        "quick": quick,
        "seeds": list(seeds),
        "limit": {"requests": LIMIT, "windowSeconds": SLIDING_SECONDS, "penaltySeconds": PENALTY_SECONDS},
        "visibilitySeconds": {"min": LAG_SECONDS[0], "mode": LAG_SECONDS[1], "max": LAG_SECONDS[2]},
        "windowSeconds": WINDOW_SECONDS,
        "toldAfterSeconds": TOLD_AFTER_SECONDS,
        "roundTripSeconds": ROUND_TRIP_SECONDS,
        "lines": lines,
        "goals": judge(lines),
        "tookSeconds": _rounded(time.perf_counter() - started),
    }


def _lines(rates: Sequence[float], seeds: Sequence[int], *, quick: bool) -> Iterator[dict[str, Any]]:
    for pattern in PATTERNS:
        for rate in rates:
            for policy in POLICIES:
                if policy == "aftercall+log" and rate not in FEW_RATES:
                    continue
                yield measure(rate, pattern, policy, seeds, quick=quick)


def show(results: dict[str, Any], console: Console) -> None:
    """Print the tables for people."""
    table = Table(title="Excess: from visible to found, seconds (virtual time)")
    for name in (
        "pattern",
        "calls/min",
        "policy",
        "mean",
        "p50",
        "p99",
        "max",
        "lost",
        "429",
        "requests/min",
    ):
        table.add_column(name, justify="left" if name in {"pattern", "policy"} else "right")
    for line in results["lines"]:
        table.add_row(
            line["pattern"],
            f"{line['rate']:g}",
            line["policy"],
            *(_shown(line.get(key)) for key in ("meanSeconds", "p50Seconds", "p99Seconds", "maxSeconds")),
            _share_lost(line),
            str(line.get("refused429", "")),
            _shown(line.get("requestsPerMinute")),
            end_section=line["policy"] == "bound",
        )
    console.print(table)
    goals = Table(title="Goals (policy aftercall)")
    for name in ("goal", "at most", "measured", "met"):
        goals.add_column(name, justify="left" if name == "goal" else "right")
    for goal in results["goals"]:
        goals.add_row(
            goal["goal"], f"{goal['atMost']:g}", _shown(goal["measured"]), "yes" if goal["met"] else "NO"
        )
    console.print(goals)
    console.print(f"One page per poll; took {results['tookSeconds']:.0f} s.")


def main() -> int:
    """Run as a command; 1 when a goal is not met, which in virtual time no noise can bring about."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.planner", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--json", action="store_true", help="print figures for programs")
    parser.add_argument("--quick", action="store_true", help="fewer rates, seeds and minutes")
    arguments = parser.parse_args()
    results = run_all(quick=arguments.quick)
    if arguments.json:
        print(json.dumps(results, indent=2))
    else:
        console = Console()
        console.width = max(console.width, TABLE_WIDTH)
        show(results, console)
    return 0 if all(goal["met"] for goal in results["goals"]) else 1


def _moment(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def _rounded(value: float) -> float:
    return round(value, 3)


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    return _rounded(ordered[min(len(ordered) - 1, int(share * len(ordered)))]) if ordered else None


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _share_lost(line: dict[str, Any]) -> str:
    if "lost" not in line:
        return ""
    return f"{line['lost']} ({100.0 * line['lost'] / line['calls']:.0f} %)" if line["lost"] else "0"


if __name__ == "__main__":
    sys.exit(main())
