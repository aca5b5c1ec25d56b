"""The requests that clients sent, counted by rate group. No I/O, no clock."""

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from app.simulator.platform.views import iso
from app.simulator.scripting.model import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedRequest:
    """One request and its status. `user` is an extension id or empty; `parameters` are names only."""

    group: str
    method: str
    path: str
    status: int
    user: str
    parameters: Sequence[str] = ()


@dataclass(slots=True)
class RequestLog:
    """The latest thousand requests, oldest first. `counts` has for each group `total` and each status."""

    latest: deque[Json] = field(default_factory=lambda: deque(maxlen=1000))
    counts: dict[str, Counter[str]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Json]:
        return iter(self.latest)

    @property
    def refused(self) -> int:
        """The number of requests that got 429."""
        return sum(numbers["429"] for numbers in self.counts.values())

    def summarize(self) -> Json:
        return {group: dict(numbers) for group, numbers in sorted(self.counts.items())}

    def add(self, request: ServedRequest, now: datetime) -> None:
        counts = self.counts.setdefault(request.group, Counter())
        counts["total"] += 1
        counts[f"{request.status}"] += 1
        self.latest.append(
            {
                "at": iso(now),
                "group": request.group,
                "method": request.method,
                "path": request.path,
                "parameters": list(request.parameters),
                "status": request.status,
                "user": request.user,
            }
        )
