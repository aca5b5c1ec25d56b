"""`aftercall audit`: who changed keys, accounts, webhook endpoints, links, erasures and legal holds."""

import json
from datetime import datetime
from typing import Annotated

import typer

from app.audit.model import AuditAction, AuditOutcome
from app.audit.store import Filters, list_entries
from app.cli.context import CommandContext, as_utc, out, run_with_database
from app.ops.account_scope import load_scope
from app.ops.audit.schemas import show_entry


def audit(
    since: Annotated[datetime | None, typer.Option(help="Only from this moment on (UTC).")] = None,
    until: Annotated[datetime | None, typer.Option(help="Only before this moment (UTC).")] = None,
    action: Annotated[list[AuditAction] | None, typer.Option(help="Only these; repeat for more.")] = None,
    outcome: Annotated[AuditOutcome | None, typer.Option(help="Only these.")] = None,
    key: Annotated[str | None, typer.Option(help="Only what this API key did, by its id.")] = None,
    target: Annotated[str | None, typer.Option(help="Only what was done to this, by its id or name.")] = None,
    account: Annotated[
        str | None, typer.Option(help="Account id; ~ is the service's own account. Default: all.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 50,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each entry as a line of JSON, as the API shows it.")
    ] = False,
) -> None:
    """Show who changed what, and when (UTC), newest first."""

    async def run(context: CommandContext) -> None:
        async with context.database.read() as db:
            filters = Filters(
                accounts=None if account is None else await load_scope(db, account),
                actions=[one.value for one in action or ()],
                outcome=outcome and outcome.value,
                key_id=key,
                target=target,
                since=since and as_utc(since),
                until=until and as_utc(until),
            )
            found = [show_entry(entry) for entry in await list_entries(db, filters, limit)]
        if as_json:
            for entry in found:
                print(json.dumps(entry.model_dump(mode="json", by_alias=True)))  # noqa: T201
            return
        for entry in found:
            who = entry.actor.key_id or entry.actor.kind.value
            words = (entry.action.value, entry.target or "", f"by {who}", f"account {entry.account_id}")
            line = "  ".join([f"{entry.at:%Y-%m-%d %H:%M:%S}", *filter(None, words), entry.outcome.value])
            # An id that is cut off cannot be looked for.
            out.print(line, soft_wrap=True, markup=False)

    run_with_database(run)
