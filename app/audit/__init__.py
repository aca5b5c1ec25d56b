"""The audit: who changed keys, accounts, webhook endpoints, links and what is erased or held, and when."""

from app.audit.model import COMMAND, SERVICE, SIGN_IN, Actor, AuditAction, AuditOutcome, differences
from app.audit.store import record

__all__ = ["COMMAND", "SERVICE", "SIGN_IN", "Actor", "AuditAction", "AuditOutcome", "differences", "record"]
