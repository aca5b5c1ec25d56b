"""Which tests run on a second version of PostgreSQL."""

from pathlib import Path

import pytest

from tests.postgres_versions import PATHS, depends_on_version

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("path", PATHS)
def test_each_path_holds_tests(path: str) -> None:
    place = ROOT / path
    files = sorted(place.rglob("test_*.py")) if path.endswith("/") else [place]
    assert any("def test_" in file.read_text() for file in files)


def test_tests_of_what_may_differ_between_versions_are_chosen() -> None:
    assert depends_on_version("tests/integration/db/test_migrations.py::test_up", ["database_url"])
    assert depends_on_version("tests/integration/api/test_keys.py::test_race", ["postgres_database"])
    assert not depends_on_version("tests/integration/api/test_keys.py::test_key", ["database_url"])


def test_ci_runs_them_and_fails_if_none_ran() -> None:
    script = (ROOT / ".ci/run").read_text().partition("run_on_second_version() {")[2].partition("\n}")[0]
    assert 'AFTERCALL_TEST_POSTGRES=embedded make test ARGS="-m postgresql_version' in script
    assert "grep -qE '^=+ .*[0-9]+ passed'" in script
