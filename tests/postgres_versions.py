"""Which tests CI runs once more, on another version of PostgreSQL: those of what may differ between versions.

That is the schema and its migrations, locks, types, plans and errors, the queries of each subject, and
whatever a test asks of PostgreSQL alone. What the service makes of the rows is the same on every version.
"""

from collections.abc import Collection

PATHS = (
    "tests/integration/db/",  # migrations, upgrades, locks, types, poolers, errors
    "tests/integration/accounts/test_connections.py",
    "tests/integration/calls/attachments/test_parking.py",
    "tests/integration/calls/feed/",
    "tests/integration/calls/listing/",  # plans
    "tests/integration/calls/test_reading.py",
    "tests/integration/enrichment/call_log/test_reader.py",
    "tests/integration/enrichment/insights/test_reader.py",
    "tests/integration/enrichment/polling/test_poller.py",
    "tests/integration/enrichment/records/test_odd_records.py",  # what a column refuses
    "tests/integration/enrichment/recordings/test_archiver.py",
    "tests/integration/enrichment/sweeps/",
    "tests/integration/ops/figures/",  # aggregates
    "tests/integration/ops/test_one_story.py",
    "tests/integration/rate_limits/",  # locks of rows
    "tests/integration/retention/test_partitions.py",
    "tests/integration/webhooks/folding/test_fold.py",
    "tests/integration/webhooks/intake/",
    "tests/integration/webhooks/subscriptions/test_keeper.py",
    "tests/integration/work/",  # leases
)
FIXTURES = {"postgres", "postgres_url", "postgres_database"}


def depends_on_version(nodeid: str, fixtures: Collection[str]) -> bool:
    """Whether to run a PostgreSQL test on another version; `fixtures` are the names of those it requests."""
    return nodeid.startswith(PATHS) or not FIXTURES.isdisjoint(fixtures)
