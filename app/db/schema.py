"""Decides whether this code works on the schema of the database.

A migration declares whether the previous release's code still works on the new schema: `breaks_older =
False`. With each migration the database records the oldest revision whose code it still serves, next to the
revision that this was recorded for. So code that meets an unknown revision can tell whether it may continue,
and a record that was not updated has no effect.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from sqlalchemy.engine import Connection

from app.db.engine import Database

SCRIPTS = Path(__file__).parents[2] / "migrations"
_VERSIONS = "alembic_version"
# Through JSON: the column does not exist if the schema was last changed by code without it.
_READ = {
    "postgresql": text(
        "SELECT version_num, to_jsonb(alembic_version) ->> 'serves_since' AS serves_since FROM "
        "alembic_version"
    ),
    "sqlite": text("SELECT * FROM alembic_version"),
}


@dataclass(frozen=True, slots=True)
class SchemaState:
    """The revision of the database, and the one that this code expects. `serves`: this code works with it."""

    revision: str | None
    expected: str
    serves: bool
    is_newer: bool = False

    @property
    def detail(self) -> str:
        """Describe the state in words."""
        if self.revision == self.expected:
            return f"at {self.expected}"
        if not self.is_newer:
            return f"at {self.revision or 'nothing'}, expected {self.expected}"
        verdict = "which it still serves" if self.serves else "which it no longer serves"
        return f"at {self.revision}, made by newer code than this ({self.expected}), {verdict}"

    @property
    def todo(self) -> str:
        """What to do if it does not serve."""
        if self.is_newer:
            return "Run the newest version, or restore a backup from before its migration."
        return "Run `aftercall migrate`."

    @property
    def sentence(self) -> str:
        """Why it does not serve, and what to do."""
        what = "the database has no schema yet" if self.revision is None else f"the schema is {self.detail}"
        return f"{what}. {self.todo}"


def config(connection: Connection | None = None) -> Config:
    """Return Alembic's configuration."""
    made = Config()
    made.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    made.attributes["connection"] = connection
    return made


@cache
def _scripts(_folder: Path) -> ScriptDirectory:
    return ScriptDirectory.from_config(config())


def scripts() -> ScriptDirectory:
    """Return the migrations that this code knows; they are read once."""
    return _scripts(SCRIPTS)


def head() -> str:
    """Return the revision that this code expects."""
    return scripts().get_current_head() or ""


def knows(revision: str) -> bool:
    """Whether this code has the migration of that name."""
    return any(script.revision == revision for script in scripts().walk_revisions())


def serves_since(revision: str) -> str:
    """Return the oldest revision whose code works on the schema of `revision`."""
    at = revision
    for script in scripts().iterate_revisions(revision, "base"):
        at = script.revision
        if getattr(script.module, "breaks_older", True):
            break
    return at


async def schema_state(database: Database) -> SchemaState:
    """Compare the database's schema with the one that this code expects.

    Raises StorageUnavailable if the database cannot be reached.
    """
    async with database.read() as db:
        revision, since = await db.run_sync(_read_version)
    expected = head()
    if revision is None or revision == expected or knows(revision):
        return SchemaState(revision, expected, serves=revision == expected)
    return SchemaState(revision, expected, serves=since is not None and knows(since), is_newer=True)


def _read_version(connection: Connection) -> tuple[str | None, str | None]:
    if not inspect(connection).has_table(_VERSIONS):
        return None, None
    row = connection.execute(_READ[connection.dialect.name]).mappings().first()
    if row is None:
        return None, None
    noted_for, _, since = (row.get("serves_since") or "").partition(":")
    return row["version_num"], since if noted_for == row["version_num"] else None


def note_serves_since(ctx: Any, heads: set[str], **_: Any) -> None:
    """Record which code the schema serves, in the migration's transaction; Alembic calls it after each."""
    connection: Connection = ctx.connection
    columns = {column["name"] for column in inspect(connection).get_columns(_VERSIONS)}
    if "serves_since" not in columns:
        connection.execute(text("ALTER TABLE alembic_version ADD COLUMN serves_since VARCHAR(128)"))
    for revision in heads:
        connection.execute(
            text("UPDATE alembic_version SET serves_since = :since"),
            {"since": f"{revision}:{serves_since(revision)}"},
        )
