"""`aftercall replay`: rebuild calls from their stored deliveries and records."""

from datetime import datetime
from typing import Annotated

import typer

from app.cli.context import CommandContext, out, run_with_database
from app.ids import AccountId
from app.webhooks.replay import replay_all, replay_calls


def replay(
    account: Annotated[
        str | None,
        typer.Option(
            help="Account id; ~, the default, is the account of the service's own credentials. "
            "With --all, the default is every account."
        ),
    ] = None,
    every: Annotated[
        bool,
        typer.Option("--all", help="Every call, also those of which no delivery is stored any more."),
    ] = False,
    session: Annotated[str | None, typer.Option(help="Only this telephonySessionId.")] = None,
    since: Annotated[
        datetime | None, typer.Option(help="Only deliveries received after this moment (UTC).")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Compare only; write nothing.")] = False,
) -> None:
    """Rebuild calls from what is stored of them, and report every difference.

    Differences are corrected as ordinary changes: followers see them. Run it with --all after an update that
    changes how calls are derived, first with --dry-run.
    """
    if every and (session is not None or since is not None):
        raise typer.BadParameter("--all cannot be combined with --session or --since.")

    async def run(context: CommandContext) -> None:
        database, clock = context.database, context.clock
        if every:
            report = await replay_all(
                database, clock, None if account is None else AccountId(account), write=not dry_run
            )
        else:
            report = await replay_calls(
                database, clock, AccountId(account or "~"), session=session, since=since, write=not dry_run
            )
        verb = "would change" if dry_run else "corrected"
        out.print(
            f"{report.calls} calls rebuilt from {report.deliveries} deliveries: {report.same} unchanged, "
            f"{len(report.different)} {verb}."
        )
        for call_id, fields in report.different.items():
            out.print(f"  {call_id}: {', '.join(fields)}")

    run_with_database(run)
