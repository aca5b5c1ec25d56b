"""`aftercall replay`: rebuild calls from what was kept of them."""

from datetime import datetime
from typing import Annotated

import typer

from app.cli.context import out, with_schema
from app.clock import SystemClock
from app.db.engine import Database
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
    """Rebuild calls from the raw deliveries and records that were kept, and say whether anything differs."""

    async def run(database: Database) -> None:
        report = await replay_calls(
            database,
            SystemClock(),
            AccountId(account),
            session=session,
            since=since,
            write=not dry_run,
        )
        verb = "would differ" if dry_run else "mended"
        out.print(
            f"{report.calls} calls rebuilt from {report.deliveries} deliveries: {report.same} the same, {len(report.different)} {verb}."
        )
        for call_id, what in report.different.items():
            out.print(f"  {call_id}: {', '.join(what)}")

    with_schema(run)
