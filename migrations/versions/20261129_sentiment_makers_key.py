"""Let a source have a person's and a machine's sentiment of the same call."""

from alembic import op

revision = "20261129_sentiment_makers_key"
down_revision = "20261129_sentiment_makers_index"
branch_labels = None
depends_on = None
breaks_older = False

_KEY = ["account_id", "subject", "source", "made_by"]


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        # The index is there, so this takes a moment.
        op.execute(
            "ALTER TABLE sentiments DROP CONSTRAINT pk_sentiments,"
            " ADD CONSTRAINT pk_sentiments PRIMARY KEY USING INDEX uq_sentiments_maker"
        )
        return
    _rekey(_KEY)


def downgrade() -> None:
    # Of two sentiments of a source, the person's stays.
    op.execute(
        "DELETE FROM sentiments WHERE made_by = 'machine' AND EXISTS (SELECT 1 FROM sentiments AS other"
        " WHERE other.account_id = sentiments.account_id AND other.subject = sentiments.subject"
        " AND other.source = sentiments.source AND other.made_by = 'person')"
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "ALTER TABLE sentiments DROP CONSTRAINT pk_sentiments,"
            " ADD CONSTRAINT pk_sentiments PRIMARY KEY (account_id, subject, source)"
        )
        op.execute(
            "CREATE UNIQUE INDEX uq_sentiments_maker ON sentiments (account_id, subject, source, made_by)"
        )
        return
    _rekey(_KEY[:3])


def _rekey(columns: list[str]) -> None:
    with op.batch_alter_table("sentiments") as table:
        table.drop_constraint("pk_sentiments", type_="primary")
        table.create_primary_key("pk_sentiments", columns)
