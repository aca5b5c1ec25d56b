"""The token bucket of a key: a request takes one token, and tokens come back evenly. Pure."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quota:
    """`requests` at once, and as many again in every `seconds`."""

    requests: int
    seconds: float

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


@dataclass(frozen=True, slots=True)
class Bucket:
    """How many tokens were left at a time, in seconds of a clock that never goes back."""

    tokens: float
    at: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request may pass. `remaining`: requests that may follow at once. `reset_seconds`: until the
    bucket is full. `retry_seconds`: until the next request may pass; 0 if it may already.
    """

    quota: Quota
    admitted: bool
    remaining: int
    reset_seconds: int
    retry_seconds: int


def quota_of(per_minute: int, burst_seconds: float) -> Quota | None:
    """Return the quota of a key that may send so many requests a minute; None if it has no limit."""
    if per_minute <= 0:
        return None
    requests = max(1, math.floor(per_minute * burst_seconds / 60))
    return Quota(requests, requests * 60 / per_minute)


def admit(bucket: Bucket | None, quota: Quota, now: float) -> tuple[Bucket, Verdict]:
    """Return the bucket after a request at `now`, and whether it may pass. None: a bucket that is full."""
    tokens = float(quota.requests)
    if bucket is not None:
        elapsed = max(0.0, now - bucket.at)
        tokens = min(tokens, bucket.tokens + elapsed * quota.per_second)
    admitted = tokens >= 1.0
    left = tokens - 1.0 if admitted else tokens
    # A clock is a float: a token that is all but there counts as soon as the client was told to come back.
    retry = 0 if left >= 1.0 else max(1, math.ceil((1.0 - left) / quota.per_second - 1e-9))
    verdict = Verdict(
        quota,
        admitted,
        remaining=math.floor(left),
        reset_seconds=math.ceil((quota.requests - left) / quota.per_second - 1e-9),
        retry_seconds=retry,
    )
    return Bucket(left, now), verdict
