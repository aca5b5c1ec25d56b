"""A pytest plugin: how `make test` spreads the tests over the processes of pytest-xdist.

A file stays in one process, so that its tests can share what they start; a test of tests/e2e is sent on its
own, since it waits for a simulated RingCentral most of the time. The two kinds take turns: while some
processes wait, others compute.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

_FOLDERS = (
    "tests/property/test_fuzz",
    "tests/property",
    "tests/integration/enrichment",
    "tests/integration/webhooks",
    "tests/contract",
    "tests/integration",
    "tests/unit",
)
"""Those of the slowest tests first, so that no process is left with one of them in the end."""

_LONGEST = (
    "test_crashes",
    "test_push_crashes",
    "test_outages",
    "test_completeness",
    "test_every_script",
    "test_awkward",
    "test_demo",
)


def is_spread(nodeid: str) -> bool:
    """Whether a test is sent to a process without the others of its file."""
    return nodeid.startswith("tests/e2e/") and "/test_linked_calls.py" not in nodeid


def scope_of(nodeid: str) -> str:
    """Return what is sent together with a test."""
    return nodeid if is_spread(nodeid) else nodeid.partition("::")[0]


def in_turns(nodeids: Sequence[str]) -> list[str]:
    """Order tests so that one that waits and a file of those that compute alternate, the longest first."""
    waiting = sorted(filter(is_spread, nodeids), key=_waiting_rank)
    files: dict[str, list[str]] = {}
    for nodeid in nodeids:
        if not is_spread(nodeid):
            files.setdefault(scope_of(nodeid), []).append(nodeid)
    computing = [files[name] for name in sorted(files, key=_computing_rank)]
    return list(_flatten(zip_longest([[one] for one in waiting], computing, fillvalue=[])))


def _flatten(pairs: Iterable[tuple[list[str], ...]]) -> Iterator[str]:
    for pair in pairs:
        for nodeids in pair:
            yield from nodeids


def _waiting_rank(nodeid: str) -> int:
    return next((place for place, name in enumerate(_LONGEST) if name in nodeid), len(_LONGEST))


def _computing_rank(file: str) -> int:
    return next((place for place, folder in enumerate(_FOLDERS) if file.startswith(folder)), len(_FOLDERS))


class Spreading(LoadScopeScheduling):  # type: ignore[misc]
    """Sends the scopes of this module, in the order in which they were collected."""

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Spreading | None:
    """Take the place of `--dist loadfile`."""
    return Spreading(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order the tests, in the processes of pytest-xdist alone: one process runs them as they are written."""
    if hasattr(config, "workerinput"):
        by_id = {item.nodeid: item for item in items}
        if len(by_id) == len(items):  # else an id is shared, which tests/completeness.py refuses
            items[:] = [by_id[nodeid] for nodeid in in_turns(list(by_id))]
