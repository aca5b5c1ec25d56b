"""Many calls of one account, made by the database itself: a million in minutes, for plans and measurements.

Calls start half a minute apart. Their traits are spread as in life, and without chance: one number is part of
every second call, one extension of every third, some outcomes and labels are rare, a hundredth was changed
again at the end, and a few last for a day. The same statements run on SQLite and PostgreSQL.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text

from app.calls import accounts
from app.db.engine import Database
from tests.factories_calls import ACCOUNT, ANA, CUSTOMER, raw_record
from tests.fakes.clock import START

SPACING = timedelta(seconds=30)
_PART = 5_000
"""Calls of one statement: on a busy machine it stays far below the time that a statement may take."""


@dataclass(frozen=True, slots=True)
class _Dialect:
    """What the two databases write differently."""

    is_sqlite: bool

    def series(self, first: int, last: int) -> str:
        if self.is_sqlite:
            numbers = f"SELECT {first} UNION ALL SELECT n + 1 FROM s WHERE n < {last}"  # noqa: S608
            return f"(WITH RECURSIVE s(n) AS ({numbers}) SELECT n FROM s) AS s"  # noqa: S608
        return f"generate_series({first}::bigint, {last}::bigint) AS s(n)"

    def at(self, seconds: str) -> str:
        if self.is_sqlite:
            start = f"{START:%Y-%m-%d %H:%M:%S}"
            return f"strftime('%Y-%m-%d %H:%M:%S', '{start}', ({seconds}) || ' seconds') || '.000000'"
        return f"(timestamptz '{START.isoformat()}' + ({seconds}) * interval '1 second')"

    def json(self, value: str) -> str:
        return f"'{value}'" if self.is_sqlite else f"'{value}'::jsonb"


WITH_RECORDS = 200
"""The newest calls that have a record, with its legs."""

_RECORD = raw_record(legs=[raw_record(f"leg-{number}", legType="Accept") for number in range(5)])
_ID = "'call_' || (1000000000 + n)"
_STARTED = f"n * {int(SPACING.total_seconds())}"
_SECONDS = "CASE WHEN n * 6007 % 4999 = 0 THEN 100000 + n % 7 ELSE 20 + n * 37 % 1201 END"
_EXTENSION = f"CASE WHEN n % 3 = 0 THEN '{ANA}' ELSE '7110002' || (10 + n * 13 % 61) END"
_NUMBER = f"CASE WHEN n % 2 = 0 THEN '{CUSTOMER}' ELSE '+1555020' || (1000 + n * 17 % 8999) END"
_MARK = "'{account}', " + _ID + ", false, 1, {at}, {at}"


def _statements(dialect: _Dialect, first: int, last: int, count: int) -> Iterator[str]:
    empty, nothing = dialect.json("{}"), dialect.json("[]")
    series, started = dialect.series(first, last), dialect.at(_STARTED)
    is_live, is_again = f"n > {count} - 10", "n * 7 % 100 = 3"
    changed = f"CASE WHEN {is_again} THEN {count} + n ELSE n END"
    updated = dialect.at(
        f"CASE WHEN {is_again} THEN {count} * 30 + 60 * 60 + n * 30 / 100 ELSE n * 30 + 300 END"
    )
    key = f"'{ACCOUNT}', {_ID}"
    yield f"""
        INSERT INTO calls (account_id, call_id, telephony_session_id, session_id, stage, version, changed_seq,
            direction, internal, outcome, result, external_number, agent_extension_id, started_at, ended_at,
            duration_seconds, has_recording, main_call_id, conversation_id, parties, related, details, facts,
            readiness, source, created_at, updated_at)
        SELECT {key}, 's-' || n, CAST(n AS text),
            CASE WHEN {is_live} THEN 'live' WHEN n > {count} - 300 THEN 'bootstrapped'
                WHEN n * 6101 % 499 = 0 THEN 'absent' ELSE 'final' END,
            1, {changed},
            CASE WHEN n * 7907 % 10 < 6 THEN 'Inbound' ELSE 'Outbound' END,
            CASE WHEN n * 6113 % 1009 < 5 THEN NULL ELSE n * 6113 % 1009 < 200 END,
            CASE WHEN {is_live} THEN 'inProgress' WHEN n * 7919 % 1013 < 2 THEN 'blocked'
                WHEN n * 7919 % 1013 < 92 THEN 'voicemail' WHEN n * 7919 % 1013 < 300 THEN 'missed'
                ELSE 'answered' END,
            'Accepted', {_NUMBER}, CASE WHEN n * 31 % 10 < 7 THEN {_EXTENSION} END,
            {started}, CASE WHEN {is_live} THEN NULL ELSE {dialect.at(f"{_STARTED} + {_SECONDS}")} END,
            {_SECONDS}, n * 6121 % 1019 < 60,
            CASE WHEN n * 6131 % 1021 < 15 THEN 'call_' || (999999999 + n) END,
            CASE WHEN n * 6131 % 1021 < 30 THEN 'conv_' || n END,
            {nothing}, {nothing}, {empty}, {nothing}, {empty}, 'webhook', {started}, {updated}
        FROM {series}"""  # noqa: S608
    yield f"""
        INSERT INTO timeline (account_id, call_id, seq, version, type, at, data, mark)
        SELECT {key}, {changed}, 1, 'call.updated', {updated}, {empty}, 'abc' FROM {series}"""  # noqa: S608
    for kind, value in (("extension", _EXTENSION), ("number", _NUMBER)):
        yield f"""
            INSERT INTO call_parties (account_id, call_id, kind, value, started_at)
            SELECT {key}, '{kind}', {value}, {started} FROM {series}"""  # noqa: S608
    raw = dialect.json(json.dumps(_RECORD))
    yield f"""
        INSERT INTO call_records (account_id, call_id, record_id, source, detailed, fetched_at, raw)
        SELECT {key}, 'record-' || n, 'call-log', true, {started}, {raw}
        FROM {series} WHERE n > {count} - {WITH_RECORDS}"""  # noqa: S608
    mark = _MARK.format(account=ACCOUNT, at=started)
    shared = "(account_id, subject, parked, version, created_at, updated_at"
    yield f"""
        INSERT INTO notes {shared}, note_id, source, text, format)
        SELECT {mark}, 'note_' || n, 'hubspot', 'text', 'plain' FROM {series} WHERE n * 6133 % 1031 < 12"""  # noqa: S608
    yield f"""
        INSERT INTO sentiments {shared}, source, label, scope)
        SELECT {mark}, 'ai', CASE WHEN n * 6143 % 1033 < 1 THEN 'mixed'
            WHEN n * 6143 % 1033 < 50 THEN 'negative' WHEN n * 6143 % 1033 < 100 THEN 'neutral'
            ELSE 'positive' END, {empty}
        FROM {series} WHERE n * 6143 % 1033 < 400"""  # noqa: S608
    yield f"""
        INSERT INTO crm_links {shared}, crm, objects)
        SELECT {mark}, 'hubspot', {nothing} FROM {series} WHERE n < {count} - 200 AND n * 6151 % 1039 > 3"""  # noqa: S608


def start_of(number: int) -> datetime:
    """Return when a call started; calls are numbered from 1, the oldest first."""
    return START + number * SPACING


async def make_calls(database: Database, count: int) -> None:
    """Store `count` calls with what is attached to them, and let the database count its rows."""
    dialect = _Dialect(database.is_sqlite)
    async with database.write() as db:
        await accounts.add(db, ACCOUNT, START)
    for first in range(1, count + 1, _PART):
        async with database.write() as db:
            for statement in _statements(dialect, first, min(first + _PART - 1, count), count):
                await db.execute(text(statement.replace(":", r"\:")))
                if first == 1:
                    # PostgreSQL guesses an eighteenth of the rows of a table that it has not counted, and
                    # reads all calls of the account to find the one that a party belongs to.
                    await db.execute(text("ANALYZE calls"))
    async with database.write() as db:
        numbered = text("UPDATE accounts SET timeline_seq = :last WHERE account_id = :account")
        await db.execute(numbered, {"last": 2 * count, "account": ACCOUNT})
    if not database.is_sqlite:
        engine = database.open_migrating({})  # may take as long as it likes
        async with engine.connect() as db:
            await db.execution_options(isolation_level="AUTOCOMMIT")
            await db.execute(text("VACUUM ANALYZE"))
        await engine.dispose()
