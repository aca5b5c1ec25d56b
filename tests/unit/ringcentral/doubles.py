"""A budget that records its calls, and the moment at which these tests begin."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

from app.errors import RateLimited
from app.ringcentral.ports import Outcome, Priority, RateSlot

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


@dataclass
class Ledger:
    """A RateBudget that grants everything, or nothing at all."""

    acquired: list[tuple[str, Priority, datetime | None]] = field(default_factory=list)
    settled: dict[int, Outcome] = field(default_factory=dict)
    empty_until: datetime | None = None

    async def acquire(self, group: str, priority: Priority, deadline: datetime | None) -> RateSlot:
        if self.empty_until is not None:
            raise RateLimited("no slot", retry_at=self.empty_until)
        self.acquired.append((group, priority, deadline))
        return RateSlot(group, len(self.acquired) - 1)

    async def settle(self, slot: RateSlot, outcome: Outcome) -> None:
        assert slot.token not in self.settled, "a slot is settled once"
        self.settled[slot.token] = outcome

    @property
    def groups(self) -> list[str]:
        return [group for group, _, _ in self.acquired]

    @property
    def statuses(self) -> list[int | None]:
        """Statuses in the order of the slots; fails if a slot was never settled."""
        return [self.settled[slot].status for slot in range(len(self.acquired))]
