"""Where the tests' PostgreSQL comes from, installed before embedded, and who can run it."""

import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import postgres_binaries
from tests.postgres_binaries import NoPostgres, copy_for_others, find, unprivileged_user

PROGRAMS = ("initdb", "postgres", "pg_isready")


@pytest.fixture(autouse=True)
def _forgets() -> Iterator[None]:
    find.cache_clear()
    yield
    find.cache_clear()


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user can enter, like the folder for temporary files."""
    folder = Path(tempfile.mkdtemp(prefix="aftercall-binaries-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def make_installation(root: Path, mode: int = 0o755) -> Path:
    """Programs that respond to --version if their library is next to the package, as in the wheel."""
    libraries = root.parent.with_name(f"{root.parent.name}.libs")
    libraries.mkdir(parents=True)
    (libraries / "libpq.so.5").write_text("a library")
    (root / "bin").mkdir(parents=True)
    for name in PROGRAMS:
        program = root / "bin" / name
        library = f"$(dirname $0)/../../../{libraries.name}/libpq.so.5"
        program.write_text(f"#!/bin/sh\ncat {library} >/dev/null && echo '{name} (PostgreSQL) 18.6'\n")
        program.chmod(mode)
    return root / "bin"


def offer(monkeypatch: pytest.MonkeyPatch, *, installed: Path | None, embedded: Path | None) -> None:
    """Make only these two available on the machine."""
    monkeypatch.setattr(postgres_binaries, "_installed", lambda: iter([installed] if installed else []))
    package = embedded.parent.parent if embedded else None
    spec = type("Spec", (), {"submodule_search_locations": [str(package)]})() if package else None
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)


def test_installed_binaries_come_first(public: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed, embedded = (
        make_installation(public / "apt" / "15"),
        make_installation(public / "wheel" / "pginstall"),
    )
    offer(monkeypatch, installed=installed, embedded=embedded)
    user = unprivileged_user()
    assert find("", user) == installed
    assert find("installed", user) == installed
    assert find("embedded", user) == embedded
    assert find(str(embedded), user) == embedded


def test_the_wheel_is_used_if_nothing_is_installed(public: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded = make_installation(public / "wheel" / "pginstall")
    offer(monkeypatch, installed=None, embedded=embedded)
    assert find("", unprivileged_user()) == embedded


def test_installed_binaries_that_cannot_run_are_skipped(
    public: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = make_installation(public / "broken" / "15")
    (installed / "postgres").write_text("#!/bin/sh\necho 'cannot open shared object file' >&2; exit 127\n")
    embedded = make_installation(public / "wheel" / "pginstall")
    offer(monkeypatch, installed=installed, embedded=embedded)
    assert find("", unprivileged_user()) == embedded


@pytest.mark.parametrize("mode", [0o644, 0o600])
def test_a_wheel_without_exec_bits_is_copied(
    public: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    embedded = make_installation(public / "wheel" / "pginstall", mode)
    monkeypatch.setattr(tempfile, "tempdir", str(public))
    offer(monkeypatch, installed=None, embedded=embedded)
    found = find("", unprivileged_user())
    assert found != embedded
    assert found.is_relative_to(public)
    find.cache_clear()
    assert find("", unprivileged_user()) == found


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has folders that the server's user cannot enter")
def test_a_wheel_in_a_closed_folder_is_copied(public: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded = make_installation(public / "closed" / "wheel" / "pginstall")
    (public / "closed").chmod(0o700)
    monkeypatch.setattr(tempfile, "tempdir", str(public))
    offer(monkeypatch, installed=None, embedded=embedded)
    found = find("", unprivileged_user())
    said = subprocess.run(
        [found / "postgres", "--version"],
        user=unprivileged_user(),
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == "postgres (PostgreSQL) 18.6\n"


def test_concurrent_processes_share_one_copy(public: Path) -> None:
    package = make_installation(public / "wheel" / "pginstall").parent.parent
    copies: list[Path] = []
    threads = [
        threading.Thread(target=lambda: copies.append(copy_for_others(package, public))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(copies) == 8
    assert len(set(copies)) == 1
    assert [path for path in public.iterdir() if path.is_dir() and "wheel" not in path.name] == [copies[0]]


def test_a_copy_writable_by_others_is_rejected(public: Path) -> None:
    package = make_installation(public / "wheel" / "pginstall").parent.parent
    copy_for_others(package, public).chmod(0o777)
    with pytest.raises(NoPostgres, match="remove it"):
        copy_for_others(package, public)


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        ("", "install PostgreSQL"),
        ("installed", "no installed server"),
        ("embedded", "no embedded server"),
        ("/nowhere/bin", "AFTERCALL_TEST_POSTGRES names /nowhere/bin"),
    ],
)
def test_a_missing_choice_is_reported(monkeypatch: pytest.MonkeyPatch, choice: str, says: str) -> None:
    offer(monkeypatch, installed=None, embedded=None)
    with pytest.raises(NoPostgres, match=says):
        find(choice, unprivileged_user())
