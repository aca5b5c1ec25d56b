"""Rate limits as RingCentral applies them: a sliding window per user, application and group. No I/O.

Once the limit is exceeded, every request of that group sent during the penalty is refused and restarts the
penalty (guide "Rate limits"). Written from the guide alone, so that it can check a client's own accounting.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

LIGHT, MEDIUM, HEAVY, AUTH = "Light", "Medium", "Heavy", "Auth"

DEFAULT_LIMITS: Mapping[str, int] = {LIGHT: 50, MEDIUM: 40, HEAVY: 10, AUTH: 5}


@dataclass(frozen=True, slots=True)
class Rule:
    """Requests allowed per window, and the length of the penalty. Seconds are real ones."""

    limit: int
    window_seconds: float
    penalty_seconds: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision on one request. `retry_after` is in real seconds, None for an allowed request."""

    allowed: bool
    remaining: int
    retry_after: float | None = None


@dataclass(slots=True)
class Bucket:
    """The accepted requests and the penalty of one user in one group."""

    accepted: deque[datetime] = field(default_factory=deque)
    refused_until: datetime | None = None

    def admit(self, rule: Rule, now: datetime) -> Verdict:
        """Decide on one request that arrives now, and count it."""
        if self.refused_until is not None and now < self.refused_until:
            # Refused before it is counted: a request during the penalty extends the penalty, not the window.
            return self._refuse(rule, now)
        horizon = now - timedelta(seconds=rule.window_seconds)
        while self.accepted and self.accepted[0] <= horizon:
            self.accepted.popleft()
        if len(self.accepted) >= rule.limit:
            return self._refuse(rule, now)
        self.refused_until = None
        self.accepted.append(now)
        return Verdict(True, rule.limit - len(self.accepted))

    def _refuse(self, rule: Rule, now: datetime) -> Verdict:
        self.refused_until = now + timedelta(seconds=rule.penalty_seconds)
        return Verdict(False, 0, rule.penalty_seconds)


@dataclass(slots=True)
class RateLimiter:
    """The buckets of all users. `limits` has the requests per window of each group; seconds are simulated."""

    limits: Mapping[str, int]
    window_seconds: float
    penalty_seconds: float
    buckets: dict[tuple[str, str], Bucket] = field(default_factory=dict)

    def rule(self, group: str, speed: float) -> Rule:
        limit = self.limits.get(group, DEFAULT_LIMITS[group])
        return Rule(limit, self.window_seconds / speed, self.penalty_seconds / speed)

    def admit(self, user: str, group: str, rule: Rule, now: datetime) -> Verdict:
        """Decide on one request of a user, and count it."""
        return self.buckets.setdefault((user, group), Bucket()).admit(rule, now)


def seconds_text(seconds: float) -> str:
    """Format seconds for a header: with up to three decimals, none for whole seconds."""
    return f"{seconds:.3f}".rstrip("0").rstrip(".")


def headers(
    group: str, rule: Rule, verdict: Verdict, *, limit_headers: bool, retry_after: bool
) -> dict[str, str]:
    """Return the rate headers of a response; each switch turns a part of them off."""
    out: dict[str, str] = {}
    if limit_headers:
        out |= {
            "X-Rate-Limit-Group": group.lower(),
            "X-Rate-Limit-Limit": str(rule.limit),
            "X-Rate-Limit-Remaining": str(verdict.remaining),
            "X-Rate-Limit-Window": seconds_text(rule.window_seconds),
        }
    if retry_after and verdict.retry_after is not None:
        out["Retry-After"] = seconds_text(verdict.retry_after)
    return out
