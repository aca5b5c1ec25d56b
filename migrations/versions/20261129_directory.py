"""Keep the directory of each account: its extensions, its main number and its country."""

import sqlalchemy as sa
from alembic import op

from app.db.types import Json, UtcDateTime

revision = "20261129_directory"
down_revision = "20261129_home_country"
branch_labels = None
depends_on = None
breaks_older = False


def upgrade() -> None:
    op.create_table(
        "directories",
        sa.Column("account_id", sa.String(128), nullable=False),
        sa.Column("version", sa.String(32), nullable=False),
        sa.Column("source", sa.String(16), nullable=True),
        sa.Column("main_number", sa.String(128), nullable=True),
        sa.Column("home_country", sa.String(2), nullable=True),
        sa.Column("calling_code", sa.String(4), nullable=True),
        sa.Column("time_zone", sa.String(64), nullable=True),
        sa.Column("etags", Json, nullable=True),
        sa.Column("read_at", UtcDateTime(), nullable=True),
        sa.Column("problem", Json, nullable=True),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_directories")),
    )
    op.create_table(
        "extensions",
        sa.Column("account_id", sa.String(128), nullable=False),
        sa.Column("extension_id", sa.String(128), nullable=False),
        sa.Column("number", sa.String(128), nullable=True),
        sa.Column("name", sa.String(256), nullable=True),
        sa.Column("email", sa.String(256), nullable=True),
        sa.Column("kind", sa.String(256), nullable=True),
        sa.Column("status", sa.String(256), nullable=True),
        sa.Column("phone_numbers", Json, nullable=False),
        sa.Column("time_zone", sa.String(64), nullable=True),
        sa.Column("time_zone_at", UtcDateTime(), nullable=True),
        sa.Column("left_at", UtcDateTime(), nullable=True),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "extension_id", name=op.f("pk_extensions")),
    )
    # On new, empty tables an index takes no time and no lock that anybody waits for.
    op.create_index("ix_extensions_number", "extensions", ["account_id", "number"])


def downgrade() -> None:
    op.drop_table("extensions")
    op.drop_table("directories")
