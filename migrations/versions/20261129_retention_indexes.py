"""Index what is removed after its retention: archived audio, and what waits for a call that never came."""

from sqlalchemy import text

from app.db.indexes import create_index, drop_index

revision = "20261129_retention_indexes"
down_revision = "20261129_retention"
branch_labels = None
depends_on = None
breaks_older = False

_ARCHIVED = ("recordings", "voicemails")
_ATTACHED = ("notes", "sentiments", "dispositions", "crm_links")


def upgrade() -> None:
    for table in _ARCHIVED:
        _create(f"ix_{table}_archived", table, "archived_at", "archive_path IS NOT NULL")
    for table in _ATTACHED:
        _create(f"ix_{table}_parked", table, "updated_at", "parked IS true")


def _create(name: str, table: str, column: str, where: str) -> None:
    create_index(name, table, [column], postgresql_where=text(where), sqlite_where=text(where))


def downgrade() -> None:
    for table in _ARCHIVED:
        drop_index(f"ix_{table}_archived", table)
    for table in _ATTACHED:
        drop_index(f"ix_{table}_parked", table)
