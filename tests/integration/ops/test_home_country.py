"""The home country of the settings is stored when the service starts, and forgotten when it is unset."""

import pytest

from app.calls.ledger import open_ledger
from app.calls.regions import load_region
from app.db.engine import Database
from app.ops.startup import prepare_database
from app.settings import read_settings
from tests.factories_calls import ACCOUNT
from tests.fakes.clock import START, FakeClock


@pytest.mark.parametrize(("given", "later"), [("de", "US"), ("US", None)])
async def test_what_writes_calls_knows_the_home_country(
    database: Database, given: str | None, later: str | None
) -> None:
    for country in (given, later):
        settings = read_settings(home_country=country, migrate_on_start=False)
        await prepare_database(database, FakeClock(), settings)
        async with database.write() as db, open_ledger(db, ACCOUNT, START) as ledger:
            assert ledger.company.region == await load_region(db, ACCOUNT) == settings.home_country
