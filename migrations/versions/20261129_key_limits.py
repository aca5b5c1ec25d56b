"""Give API keys origins of web pages and limits of their own."""

import sqlalchemy as sa
from alembic import op

from app.db.types import Json

revision = "20261129_key_limits"
down_revision = "20261129_audio_links"
branch_labels = None
depends_on = None
breaks_older = False


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("origins", Json, nullable=True))
    op.add_column("api_keys", sa.Column("requests_per_minute", sa.Integer(), nullable=True))


def downgrade() -> None:
    op.drop_column("api_keys", "requests_per_minute")
    op.drop_column("api_keys", "origins")
