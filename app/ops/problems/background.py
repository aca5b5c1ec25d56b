"""Problems that background work has stored beside what it is about: of sweeps and of webhook endpoints."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.tables import sweeps, webhook_endpoints
from app.enrichment.gaps import REGULAR_ID
from app.ops.account_scope import among
from app.ops.problems.model import ProblemCode, ProblemToFix, Subject, read_problem
from app.push.endpoints.model import DisabledReason
from app.push.endpoints.store import load_disabled


async def load_sweep_problems(db: AsyncConnection, only: Sequence[str] | None) -> list[ProblemToFix]:
    """Return why gaps, backfills and the regular sweep of the Call Log make no progress."""
    query = select(sweeps.c.account_id, sweeps.c.problem).where(
        among(sweeps.c.account_id, only),
        sweeps.c.problem.is_not(None),
        # The regular sweep is done many times over, so a problem of its last attempt counts.
        (sweeps.c.done_at.is_(None)) | (sweeps.c.sweep_id == REGULAR_ID),
    )
    rows = await db.execute(query.order_by(sweeps.c.account_id, sweeps.c.from_at))
    return [read_problem(Subject.SWEEP, row.account_id, row.problem) for row in rows if row.problem]


async def load_webhook_problems(db: AsyncConnection, only: Sequence[str] | None) -> list[ProblemToFix]:
    """Return the webhook endpoints that the service has disabled."""
    words = {
        DisabledReason.GONE: "answered 410 Gone",
        DisabledReason.FAILING: "has confirmed nothing for five days",
    }
    return [
        ProblemToFix(
            row.account_id,
            Subject.WEBHOOK,
            ProblemCode.WEBHOOK_DISABLED,
            # The path may have a secret of the receiver in it.
            f"{row.endpoint_id} at {urlsplit(row.url).netloc} {words[DisabledReason(row.disabled_reason)]}.",
            row.disabled_at,
        )
        for row in await load_disabled(db, among(webhook_endpoints.c.account_id, only))
    ]
