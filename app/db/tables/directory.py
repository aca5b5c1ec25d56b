"""The people of an account: its directory as it was last read."""

from sqlalchemy import Column, Index, String, Table

from app.db.tables.base import account_key, metadata
from app.db.types import Json, UtcDateTime
from app.ids import MAX_OUTSIDE_ID
from app.values import widths

directories = Table(
    "directories",
    metadata,
    account_key(),
    # random, and new with each change of what follows or of the extensions: caches are kept by it
    Column("version", String(32), nullable=False),
    Column("source", String(16)),  # directory | extensions; null: never read
    Column("main_number", String(widths.PHONE_NUMBER)),
    Column("home_country", String(2)),
    Column("calling_code", String(4)),
    Column("time_zone", String(widths.TIME_ZONE)),
    Column("etags", Json),  # of each page, in order
    Column("read_at", UtcDateTime),  # when it was last read, or found unchanged
    Column("problem", Json),  # why it could not be read the last time: code, detail, permission, since
)
"""Not columns of `accounts`: that row is written with every change of a call, and is the lock of these."""


extensions = Table(
    "extensions",
    metadata,
    account_key(),
    Column("extension_id", String(MAX_OUTSIDE_ID), primary_key=True),
    Column("number", String(widths.PHONE_NUMBER)),
    Column("name", String(widths.TEXT)),
    Column("email", String(widths.TEXT)),
    Column("kind", String(widths.TEXT)),  # RingCentral's type: User, Department, IvrMenu …
    Column("status", String(widths.TEXT)),
    Column("phone_numbers", Json, nullable=False),  # phoneNumber and usageType, as RingCentral wrote them
    Column("time_zone", String(widths.TIME_ZONE)),
    Column("time_zone_at", UtcDateTime),  # when RingCentral was asked for it
    # when it was no longer in the directory; its name stays for the calls that it was in
    Column("left_at", UtcDateTime),
    Column("updated_at", UtcDateTime, nullable=False),
    Index("ix_extensions_number", "account_id", "number"),
)
