"""Which tests are sent together, and in which order."""

from tests.distribution import in_turns, scope_of

OUTAGE, CRASH = "tests/e2e/test_outages.py::test_restart", "tests/e2e/test_crashes.py::test_kill[sqlite]"
LINKED = [f"tests/e2e/test_linked_calls.py::test_link[{place}]" for place in range(2)]
FUZZ = "tests/property/test_fuzz_intake.py::test_it"
UNITS = [f"tests/unit/test_ids.py::test_{name}" for name in ("parses", "refuses")]


def test_a_file_stays_together_and_an_end_to_end_test_is_alone() -> None:
    assert {scope_of(nodeid) for nodeid in UNITS} == {"tests/unit/test_ids.py"}
    assert {scope_of(nodeid) for nodeid in LINKED} == {"tests/e2e/test_linked_calls.py"}
    assert [scope_of(nodeid) for nodeid in (OUTAGE, CRASH)] == [OUTAGE, CRASH]


def test_waiting_and_computing_take_turns_and_the_longest_come_first() -> None:
    assert in_turns([*UNITS, FUZZ, OUTAGE, CRASH]) == [CRASH, FUZZ, OUTAGE, *UNITS]


def test_no_test_is_lost() -> None:
    collected = [*UNITS, OUTAGE, *LINKED, FUZZ, CRASH]
    assert sorted(in_turns(collected)) == sorted(collected)
    assert in_turns([]) == []
