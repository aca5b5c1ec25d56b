"""What is told when failures disable an endpoint: an entry in the audit and a line in the log."""

from datetime import datetime

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from app.audit import SERVICE, AuditAction, record
from app.db.engine import after_commit
from app.push.endpoints.model import Condition, EndpointKey

log = structlog.get_logger(__name__)


async def tell_disabled(db: AsyncConnection, key: EndpointKey, condition: Condition, now: datetime) -> None:
    """Record that an endpoint was disabled, and log it once the transaction is committed."""
    reason = str(condition.disabled_reason)
    action, target = AuditAction.ENDPOINT_DISABLED, key.endpoint_id
    await record(db, now, key.account_id, action, SERVICE, target=target, details={"reason": reason})

    def report() -> None:
        log.warning(
            "a webhook endpoint was disabled",
            account_id=key.account_id,
            endpoint_id=key.endpoint_id,
            reason=reason,
        )

    after_commit(db, report)
