"""Store the country in which numbers without a calling code are read."""

import sqlalchemy as sa
from alembic import op

revision = "20261129_home_country"
down_revision = "20261129_call_agents_index"
branch_labels = None
depends_on = None
breaks_older = False


def upgrade() -> None:
    op.add_column("accounts", sa.Column("home_country", sa.String(2), nullable=True))


def downgrade() -> None:
    op.drop_column("accounts", "home_country")
