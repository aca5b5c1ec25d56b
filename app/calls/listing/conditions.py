"""The filters of a list as conditions on the columns of calls, each filter by its name.

Every condition is answered row by row, from the call itself or by an index of another table that leads to the
call. Which rows are looked at is another question: see `sources`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, false, func, or_, select, true

from app.calls.listing.crm import belongs_in_a_crm
from app.calls.listing.filters import CallFilters, Internal
from app.calls.listing.numbers import WantedNumber
from app.db.tables import call_parties, calls, crm_links, notes, sentiments
from app.ids import AccountId

READ_COLUMNS = tuple(
    calls.c[name]
    for name in (
        "call_id", "changed_seq", "started_at", "ended_at", "updated_at", "stage", "absent_reason",
        "direction", "internal", "outcome", "action", "callee", "external_number", "agent_extension_id",
        "has_recording", "main_call_id",
    )
)  # fmt: skip
"""What conditions read of a call."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A list as the account's data has it: its filters, and the values that a written number means."""

    account_id: AccountId
    filters: CallFilters
    number: WantedNumber | None = None
    agents: tuple[str, ...] | None = None
    """The extensions of which any may own the call; None if that is as the filter `agent` says."""

    @property
    def agent_ids(self) -> tuple[str, ...]:
        """The extensions of which any may own the call; none without a filter."""
        if self.agents is not None:
            return self.agents
        return () if self.filters.agent is None else (self.filters.agent,)

    @property
    def stated(self) -> frozenset[str]:
        """The names of the filters that are set."""
        filters = self.filters
        fields = CallFilters.model_fields
        names = frozenset(name for name in fields if getattr(filters, name) not in (None, []))
        return names | {"agent"} if self.agents is not None else names


Condition = Callable[[Wanted, Any], ColumnElement[bool]]
"""Makes the condition of one filter that is set; takes the columns of calls."""


def _internal_is(call: Any, value: Internal) -> ColumnElement[bool]:
    if value is Internal.UNKNOWN:
        return call.internal.is_(None)  # type: ignore[no-any-return]
    return _is(and_(call.internal), value is Internal.TRUE)


def one_of(column: Any, values: Sequence[str]) -> ColumnElement[bool]:
    return column == values[0] if len(values) == 1 else column.in_(values)  # type: ignore[no-any-return]


def _is(holds: ColumnElement[bool], wanted: bool | None) -> ColumnElement[bool]:
    return holds if wanted else ~holds


def _took_part(wanted: Wanted, call: Any, kind: str, values: Sequence[str]) -> ColumnElement[bool]:
    party = call_parties.c
    mine = (party.account_id == wanted.account_id, party.call_id == call.call_id, party.kind == kind)
    return _exists(*mine, one_of(party.value, values))


def _has_number(wanted: Wanted, call: Any) -> ColumnElement[bool]:
    number = wanted.number or WantedNumber((wanted.filters.phone_number or "",))
    has = _took_part(wanted, call, "number", number.values)
    if number.extension is None:
        return has
    return and_(has, _took_part(wanted, call, "number", (number.extension,)))


def _attached(wanted: Wanted, call: Any, table: Any, *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    return _exists(table.c.account_id == wanted.account_id, table.c.subject == call.call_id, *conditions)


def _exists(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    # Not EXISTS: PostgreSQL would make a join of it, and may start that from all rows of the other table.
    # This subquery runs per call, in the order of the list.
    return func.coalesce(select(true()).where(*conditions).limit(1).scalar_subquery(), false())


def _unlinked(wanted: Wanted, call: Any) -> ColumnElement[bool]:
    linked = _attached(wanted, call, crm_links, crm_links.c.crm == wanted.filters.unlinked_crm)
    return and_(*belongs_in_a_crm(call), ~linked)


CONDITIONS: Mapping[str, Condition] = {
    "started_after": lambda wanted, call: call.started_at >= wanted.filters.started_after,
    "started_before": lambda wanted, call: call.started_at < wanted.filters.started_before,
    "ended_after": lambda wanted, call: call.ended_at >= wanted.filters.ended_after,
    "ended_before": lambda wanted, call: call.ended_at < wanted.filters.ended_before,
    "updated_after": lambda wanted, call: call.updated_at >= wanted.filters.updated_after,
    "direction": lambda wanted, call: call.direction == wanted.filters.direction,
    "extension_id": lambda wanted, call: _took_part(
        wanted, call, "extension", (wanted.filters.extension_id or "",)
    ),
    "agent": lambda wanted, call: one_of(call.agent_extension_id, wanted.agent_ids),
    "phone_number": _has_number,
    "outcome": lambda wanted, call: one_of(call.outcome, wanted.filters.outcome),
    "stage": lambda wanted, call: one_of(call.stage, wanted.filters.stage),
    "main": lambda wanted, call: _is(call.main_call_id.is_(None), wanted.filters.main),
    "internal": lambda wanted, call: or_(
        *(_internal_is(call, value) for value in sorted(set(wanted.filters.internal)))
    ),
    "has_recording": lambda wanted, call: _is(and_(call.has_recording), wanted.filters.has_recording),
    "sentiment": lambda wanted, call: _attached(
        wanted, call, sentiments, sentiments.c.label == wanted.filters.sentiment
    ),
    "has_notes": lambda wanted, call: _is(_attached(wanted, call, notes), wanted.filters.has_notes),
    "unlinked_crm": _unlinked,
}
"""The condition of each filter of `CallFilters`."""


def conditions_of(wanted: Wanted, call: Any, *, besides: frozenset[str] = frozenset()) -> list[Any]:
    """Return the conditions of all filters that are set, without those that are answered already."""
    return [CONDITIONS[name](wanted, call) for name in sorted(wanted.stated - besides)]
