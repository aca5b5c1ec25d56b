"""`aftercall replay`: rebuild calls from their stored deliveries and records."""

from datetime import datetime
from typing import Annotated

import typer

from app.cli.context import CommandContext, out, run_with_database
from app.ids import AccountId
from app.webhooks.replay import replay_calls


def replay(
    account: Annotated[
        str, typer.Option(help="Account id; ~ is the account of the service's own credentials.")
    ] = "~",
    session: Annotated[str | None, typer.Option(help="Only this telephonySessionId.")] = None,
    since: Annotated[
        datetime | None, typer.Option(help="Only deliveries received after this moment (UTC).")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Compare only; write nothing.")] = False,
) -> None:
    """Rebuild calls from the stored deliveries and records, and report every difference."""

    async def run(context: CommandContext) -> None:
        report = await replay_calls(
            context.database,
            context.clock,
            AccountId(account),
            session=session,
            since=since,
            write=not dry_run,
        )
        verb = "would change" if dry_run else "corrected"
        out.print(
            f"{report.calls} calls rebuilt from {report.deliveries} deliveries: {report.same} unchanged, "
            f"{len(report.different)} {verb}."
        )
        for call_id, fields in report.different.items():
            out.print(f"  {call_id}: {', '.join(fields)}")

    run_with_database(run)
