"""Rate limits as RingCentral applies them: a sliding window per user, application and group. No I/O.

Once the limit is exceeded, every request of that group sent during the penalty is refused and restarts it
(guide "Rate limits"). Written from the guide alone, so that it can judge a client's own book-keeping.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

LIGHT, MEDIUM, HEAVY, AUTH = "Light", "Medium", "Heavy", "Auth"

DEFAULT_LIMITS: Mapping[str, int] = {LIGHT: 50, MEDIUM: 40, HEAVY: 10, AUTH: 5}


@dataclass(frozen=True, slots=True)
class Rule:
    """Requests allowed per window, and how long a refusal lasts; seconds of the wall clock."""

    limit: int
    window_seconds: float
    penalty_seconds: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one request. `retry_after` in seconds, None when it was allowed."""

    allowed: bool
    remaining: int
    retry_after: float | None = None


@dataclass(slots=True)
class Bucket:
    """What is remembered of one (user, application, group)."""

    accepted: deque[datetime] = field(default_factory=deque)
    refused_until: datetime | None = None

    def ask(self, rule: Rule, now: datetime) -> Verdict:
        """Count one request that arrives now."""
        if self.refused_until is not None and now < self.refused_until:
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


def seconds_text(seconds: float) -> str:
    """Write seconds for a header: whole ones bare, scaled ones with up to three decimals."""
    return f"{seconds:.3f}".rstrip("0").rstrip(".")


def headers(
    group: str, rule: Rule, verdict: Verdict, *, limit_headers: bool, retry_after: bool
) -> dict[str, str]:
    """Return the rate headers of an answer; the two switches leave parts of them out."""
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
