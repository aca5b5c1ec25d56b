"""`aftercall migrate`: upgrade the schema, or take it back."""

from typing import Annotated

import typer

from app.cli.context import CommandContext, keep_schema, out, run_with_database
from app.db import migrations


def migrate(
    revision: Annotated[
        str, typer.Argument(help="Revision to go to; -1 is one step down, base is empty.")
    ] = "head",
) -> None:
    """Upgrade the database's schema, or downgrade it."""

    async def run(context: CommandContext) -> None:
        await migrations.migrate(context.database, revision)
        out.print(f"The schema is at {await migrations.current_revision(context.database) or 'base'}.")

    run_with_database(run, keep_schema)
