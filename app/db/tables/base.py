"""What all tables share: the metadata with its naming convention, and columns that recur."""

from sqlalchemy import Column, ForeignKeyConstraint, Index, MetaData, String, text

from app.ids import MAX_OUTSIDE_ID

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def account_key() -> Column[str]:
    return Column("account_id", String(MAX_OUTSIDE_ID), primary_key=True)


def call_reference() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["account_id", "call_id"], ["calls.account_id", "calls.call_id"], ondelete="CASCADE"
    )


def partial_index(name: str, *columns: str, where: str) -> Index:
    """Return an index of the rows that meet a condition, on both databases."""
    return Index(name, *columns, postgresql_where=text(where), sqlite_where=text(where))
