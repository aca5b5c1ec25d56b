"""Limits how many requests each key sends to this process. In memory: no request costs a statement for it."""

from collections import OrderedDict

from app.api.usage.bucket import Bucket, Verdict, admit, quota_of
from app.clock import Clock

_MOST_KEYS = 10_000


class KeyLimits:
    """The buckets of the keys that one process serves, on its event loop."""

    def __init__(self, clock: Clock, per_minute: int, burst_seconds: float) -> None:
        self._clock = clock
        self._per_minute = per_minute
        self._burst_seconds = burst_seconds
        self._buckets: OrderedDict[tuple[str, str], Bucket] = OrderedDict()

    def count(self, owner: str, key_id: str, per_minute: int | None) -> Verdict | None:
        """Count a request of a key and return whether it may pass; None if the key has no limit.

        `per_minute`: the key's own limit, None for the setting's, 0 for none.
        """
        quota = quota_of(self._per_minute if per_minute is None else per_minute, self._burst_seconds)
        if quota is None:
            return None
        ref = (owner, key_id)
        bucket, verdict = admit(self._buckets.get(ref), quota, self._clock.monotonic())
        self._buckets[ref] = bucket
        self._buckets.move_to_end(ref)
        if len(self._buckets) > _MOST_KEYS:
            # The one that was idle for longest: its bucket is full by now, which is what no bucket means.
            self._buckets.popitem(last=False)
        return verdict
