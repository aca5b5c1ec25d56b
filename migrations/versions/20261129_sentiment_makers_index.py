"""Index sentiments by their coming key, on PostgreSQL: it becomes the key without a long lock."""

from alembic import op

from app.db.indexes import create_index, drop_index

revision = "20261129_sentiment_makers_index"
down_revision = "20261129_sentiment_makers"
branch_labels = None
depends_on = None
breaks_older = False

_NAME = "uq_sentiments_maker"


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        create_index(_NAME, "sentiments", ["account_id", "subject", "source", "made_by"], unique=True)


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        drop_index(_NAME, "sentiments")
