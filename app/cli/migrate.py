"""`aftercall migrate`: bring the schema up to date, or take it back."""

from typing import Annotated

import typer

from app.cli.context import out, with_database
from app.db.engine import Database
from app.db.migrations import current_revision
from app.db.migrations import migrate as migrate_database


def migrate(
    revision: Annotated[
        str, typer.Argument(help="Revision to go to; -1 is one step down, base is empty.")
    ] = "head",
) -> None:
    """Bring the database's schema up to date (or down)."""

    async def run(database: Database) -> None:
        await migrate_database(database, revision)
        out.print(f"The schema is at {await current_revision(database) or 'base'}.")

    with_database(run)
