"""A run whose collected and reported tests differ fails, in one process and in several."""

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DISTRIBUTED = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder", "--max-worker-restart=0")

# Gives several tests one id: while they are collected, or when the collection is over.
SHARES_IDS = """
    import pytest

    def share(item):
        if "same" in item.name:
            item._id = type(item.id).parse("test_it.py::test_same")

    def pytest_itemcollected(item):
        share(item)
"""
SHARES_IDS_LATE = """
    import pytest

    def share(item):
        if "same" in item.name:
            item._id = type(item.id).parse("test_it.py::test_same")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(items):
        for item in items:
            share(item)
"""


@pytest.fixture(params=[(), DISTRIBUTED], ids=["one-process", "two-workers"])
def options(request: pytest.FixtureRequest) -> tuple[str, ...]:
    found: tuple[str, ...] = request.param
    return found


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A separate project that uses the plugin, run in a separate process."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # the others take seconds to load
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID"):
        monkeypatch.delenv(name, raising=False)
    return pytester


def run(project: pytest.Pytester, *options: str) -> pytest.RunResult:
    return project.runpytest_subprocess(
        "-p", "xdist", "-p", "tests.completeness", "-p", "no:cacheprovider", *options
    )


ALL_KINDS = """
    import pytest

    @pytest.mark.parametrize("number", range(3))
    def test_passes(number):
        assert number < 3

    @pytest.mark.skip(reason="shown")
    def test_is_skipped():
        assert False

    @pytest.mark.xfail
    def test_is_expected_to_fail():
        assert False

    @pytest.fixture
    def nothing():
        pytest.skip("at set-up")

    def test_is_skipped_at_set_up(nothing):
        assert False
"""


def test_a_complete_run_passes(project: pytest.Pytester, options: tuple[str, ...]) -> None:
    project.makepyfile(ALL_KINDS)
    result = run(project, *options)
    assert result.ret == pytest.ExitCode.OK
    result.assert_outcomes(passed=3, skipped=2, xfailed=1)
    assert "the run is not complete" not in result.stdout.str()


def test_deselected_tests_are_not_missed(project: pytest.Pytester, options: tuple[str, ...]) -> None:
    project.makepyfile(ALL_KINDS)
    result = run(project, "-k", "test_passes", *options)
    assert result.ret == pytest.ExitCode.OK
    result.assert_outcomes(passed=3, deselected=0 if options else 3)


def test_a_failure_stays_a_failure(project: pytest.Pytester, options: tuple[str, ...]) -> None:
    project.makepyfile("def test_fails():\n    assert False\n\ndef test_passes():\n    assert True\n")
    result = run(project, *options)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "the run is not complete" not in result.stdout.str()


def test_a_stopped_run_is_not_reported_as_incomplete(
    project: pytest.Pytester, options: tuple[str, ...]
) -> None:
    project.makepyfile("def test_fails():\n    assert False\n\ndef test_passes():\n    assert True\n")
    result = run(project, "-x", *options)
    assert result.ret != pytest.ExitCode.OK
    assert "the run is not complete" not in result.stdout.str()


def test_a_shared_id_fails_the_collection(project: pytest.Pytester, options: tuple[str, ...]) -> None:
    project.makeconftest(SHARES_IDS)
    project.makepyfile(
        test_it="""
        def test_same_one():
            assert True

        def test_same_two():
            assert False

        def test_other():
            assert True
    """
    )
    result = run(project, *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["*the run is not complete*", "1 test ids*test_it.py::test_same*"])


def test_a_test_that_is_not_reported_fails_the_run(
    project: pytest.Pytester, options: tuple[str, ...]
) -> None:
    project.makeconftest("""
        def pytest_runtest_protocol(item):
            return True if "lost" in item.name else None
    """)
    project.makepyfile("def test_lost():\n    assert False\n\ndef test_found():\n    assert True\n")
    result = run(project, *options)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["1 of 2 collected tests were not reported: *::test_lost"])


def test_ids_that_the_parallel_runner_confuses_fail_the_run(project: pytest.Pytester) -> None:
    """The ids are made equal after the collection was checked, as a plugin could do."""
    project.makeconftest(SHARES_IDS_LATE)
    project.makepyfile(
        test_it="""
        def test_same_one():
            assert True

        def test_same_two():
            assert True
    """
    )
    result = run(project, *DISTRIBUTED)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["1 of 2 collected tests were not reported: test_it.py::test_same"])


def test_tests_lost_with_a_dead_worker_are_noticed(project: pytest.Pytester) -> None:
    project.makepyfile(
        "import os\n\ndef test_dies():\n    os._exit(3)\n\ndef test_after():\n    assert True\n"
    )
    result = run(project, *DISTRIBUTED)
    assert result.ret != pytest.ExitCode.OK


def test_an_empty_parameter_set_fails_the_collection(project: pytest.Pytester) -> None:
    """As pyproject.toml sets it: pytest would skip the test."""
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    mark = ours["empty_parameter_set_mark"]
    project.makepyprojecttoml(f'[tool.pytest.ini_options]\nempty_parameter_set_mark = "{mark}"\n')
    project.makepyfile("""
        import pytest

        @pytest.mark.parametrize("none", [])
        def test_none(none):
            assert False
    """)
    result = run(project)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*Empty parameter set*"])
