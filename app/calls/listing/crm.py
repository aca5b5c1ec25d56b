"""Which calls belong in a CRM, as conditions of a query."""

from sqlalchemy import func, or_

from app.calls.model import NO_CALLS
from app.db.tables import calls

_SIDE_ACTIONS = ("conference call", "monitoring", "silentmonitoring", "barge in call")
_NUMBER = calls.c.callee["phoneNumber"].as_string()

BELONGS_IN_A_CRM = (
    calls.c.main_call_id.is_(None),
    # An unknown value counts: it is better to write a call twice than never.
    func.coalesce(calls.c.internal, False).is_(False),
    or_(calls.c.absent_reason.is_(None), calls.c.absent_reason.not_in(sorted(NO_CALLS))),
    # A conference has no customer's number. Its calls that have one stand for it, if they are known.
    or_(
        calls.c.external_number.is_not(None),
        func.lower(func.coalesce(calls.c.action, "")).not_in(_SIDE_ACTIONS)
        & (func.lower(func.coalesce(_NUMBER, "")) != "conference"),
    ),
)
"""Conditions that all hold for a call that belongs in a CRM."""
