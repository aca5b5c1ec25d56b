"""Which calls belong in a CRM, as conditions of a query."""

from typing import Any

from sqlalchemy import ColumnElement, func, or_

from app.calls.model import NO_CALLS, SIDE_ACTIONS
from app.db.tables import calls


def belongs_in_a_crm(call: Any) -> tuple[ColumnElement[bool], ...]:
    """Return conditions that all hold for a call that belongs in a CRM. `call`: the columns of calls."""
    number = call.callee["phoneNumber"].as_string()
    return (
        call.main_call_id.is_(None),
        # An unknown value counts: it is better to write a call twice than never.
        func.coalesce(call.internal, False).is_(False),
        or_(call.absent_reason.is_(None), call.absent_reason.not_in(sorted(NO_CALLS))),
        # A conference has no customer's number. Its calls that have one stand for it, if they are known.
        or_(
            call.external_number.is_not(None),
            func.lower(func.coalesce(call.action, "")).not_in(sorted(SIDE_ACTIONS))
            & (func.lower(func.coalesce(number, "")) != "conference"),
        ),
    )


BELONGS_IN_A_CRM = belongs_in_a_crm(calls.c)
