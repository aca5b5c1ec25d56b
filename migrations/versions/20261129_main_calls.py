"""Add the main call of a call's conversation. Null means the call itself, as for all calls without links.

The service computes the values of linked calls from before, in its upkeep.
"""

import sqlalchemy as sa
from alembic import op

revision = "20261129_main_calls"
down_revision = "20261129_directory"
branch_labels = None
depends_on = None
breaks_older = False


def upgrade() -> None:
    op.add_column("calls", sa.Column("main_call_id", sa.String(40), nullable=True))


def downgrade() -> None:
    op.drop_column("calls", "main_call_id")
