"""Each note joins its call, in whatever order notes, calls, names and the account become known."""

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from app.calls import store
from app.calls.attachments import store as attachments
from app.calls.attachments.parking import bind_account, join_parked
from app.calls.attachments.subjects import open_account
from app.calls.ledger import open_ledger
from app.calls.model import Call
from app.db.engine import Database
from app.db.tables import notes, timeline
from app.ids import UNBOUND_ACCOUNT
from tests.factories_calls import ACCOUNT, call_values
from tests.fakes.clock import START

CALLS = 3
calls = st.integers(0, CALLS - 1)
posts = st.tuples(
    st.just("post"), calls, st.sampled_from(["s-{}", "100{}"]), st.sampled_from([None, None, "e-1", "e-2"])
)
steps = st.lists(
    st.one_of(
        posts,
        posts,
        st.tuples(st.just("arrive"), calls, st.booleans()),
        st.tuples(st.just("name"), calls),
        st.tuples(st.just("bind")),
    ),
    max_size=12,
)
Step = tuple[object, ...]
# Whatever was left out happens in the end: every call comes, gets all its names, the account is known.
ENDING: list[Step] = [
    *(("arrive", number, True) for number in range(CALLS)),
    *(("name", number) for number in range(CALLS)),
    ("bind",),
]


class World:
    """The database, a clock that moves with every step, and what a reader should find in the end."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.now = START
        self.call_ids: dict[int, str] = {}
        self.named: set[int] = set()
        self.loose: Counter[tuple[int, str]] = Counter()
        self.keyed: dict[tuple[int, str], str] = {}

    async def take(self, step: Step) -> None:
        self.now += timedelta(seconds=1)
        await getattr(self, str(step[0]))(*step[1:])

    async def post(self, number: int, name: str, external_id: str | None) -> None:
        text = f"written at {self.now:%X}"
        note = {
            "source": "hubspot",
            "external_id": external_id,
            "title": None,
            "text": text,
            "format": "plain",
            "author": None,
        }
        async with (
            self.database.write() as db,
            open_account(db, UNBOUND_ACCOUNT, self.now) as ledger,
        ):
            await attachments.add_note(ledger, name.format(number), note)
        if external_id is None:
            self.loose[(number, text)] += 1
        else:
            self.keyed[(number, external_id)] = text

    async def arrive(self, number: int, named: bool) -> None:
        if number in self.call_ids:
            return
        call = Call(**call_values(telephony_session_id=f"s-{number}", session_id=None))
        self.call_ids[number] = call.call_id
        async with self.database.write() as db, open_ledger(db, ACCOUNT, self.now) as ledger:
            ledger.open(call, "call.started")
            await join_parked(ledger, {call.telephony_session_id: call})
        if named:
            await self.name(number)

    async def name(self, number: int) -> None:
        if number not in self.call_ids or number in self.named:
            return
        self.named.add(number)
        async with self.database.write() as db, open_ledger(db, ACCOUNT, self.now) as ledger:
            call = (await store.load_by_ids(db, ACCOUNT, [self.call_ids[number]]))[self.call_ids[number]]
            ledger.name(call, [f"100{number}"])
            await join_parked(ledger, {f"100{number}": call})

    async def bind(self) -> None:
        async with self.database.write() as db:
            await bind_account(db, ACCOUNT, self.now)

    async def check(self) -> None:
        numbers = {call_id: number for number, call_id in self.call_ids.items()}
        async with self.database.read() as db:
            found = (await db.execute(select(notes))).all()
            told = (await db.execute(select(timeline).order_by(timeline.c.seq))).all()
        assert not [row for row in found if row.parked or row.account_id != ACCOUNT]
        loose = Counter((numbers[row.subject], row.text) for row in found if row.external_id is None)
        assert loose == self.loose
        keyed = [(numbers[row.subject], row.external_id) for row in found if row.external_id is not None]
        assert sorted(keyed) == sorted(self.keyed)
        for row in found:
            if row.external_id is not None:
                assert row.text == self.keyed[(numbers[row.subject], row.external_id)]
        came = Counter(
            event.data["noteId"] for event in told if event.type in {"note.created", "note.joined"}
        )
        assert {row.note_id for row in found} <= came.keys()
        assert set(came.values()) <= {1}
        assert [event.seq for event in told] == list(range(1, len(told) + 1))
        for call_id in numbers:
            versions = [event.version for event in told if event.call_id == call_id]
            assert versions == list(range(1, len(versions) + 1))


async def _play(template: Path, steps: Sequence[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "aftercall.db"
        shutil.copyfile(template, path)
        database = Database(f"sqlite+aiosqlite:///{path}")
        try:
            world = World(database)
            for step in [*steps, *ENDING]:
                await world.take(step)
            await world.check()
        finally:
            await database.close()


@settings(max_examples=25)
@given(steps=steps)
def test_every_note_ends_on_its_call_exactly_once(sqlite_template: Path, steps: list[Step]) -> None:
    asyncio.run(_play(sqlite_template, steps))
