"""Store who made a sentiment, and the plain text of notes with markup.

Sentiments of sources such as `agent:711000101` are a person's. A process of the previous version goes on to
write all sentiments as a machine's until it is replaced.
"""

import sqlalchemy as sa
from alembic import op

revision = "20261129_sentiment_makers"
down_revision = "20261129_timeline_index"
branch_labels = None
depends_on = None
breaks_older = False

_OF_PEOPLE = " OR ".join(
    f"lower(source) = '{kind}' OR lower(source) LIKE '{kind}:%'"
    for kind in ("agent", "person", "supervisor", "user")
)


def upgrade() -> None:
    op.add_column("notes", sa.Column("plain_text", sa.Text(), nullable=True))
    maker = sa.Column("made_by", sa.String(16), server_default=sa.text("'machine'"), nullable=False)
    op.add_column("sentiments", maker)
    op.execute(f"UPDATE sentiments SET made_by = 'person' WHERE {_OF_PEOPLE}")  # noqa: S608


def downgrade() -> None:
    op.drop_column("sentiments", "made_by")
    op.drop_column("notes", "plain_text")
