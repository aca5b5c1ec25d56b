"""The locks install what they name, whatever is released later, and they name everything that is needed."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from packaging.requirements import Requirement

from tests.contract.locks import find_missing, locked_here, make_wheel, read_entries

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
RUNTIME, DEV, BUILD, S3, DOCS, DESCRIPTION, GENERATOR = (
    ROOT / f"requirements{kind}.lock"
    for kind in ("", "-dev", "-build", "-s3", "-docs", "-description", "-generator")
)
NEEDS = {
    RUNTIME: PROJECT["project"]["dependencies"],
    S3: PROJECT["project"]["optional-dependencies"]["s3"],
    BUILD: [*PROJECT["build-system"]["requires"], "editables"],
    DEV: [
        *PROJECT["project"]["dependencies"],
        *(line for extra in PROJECT["project"]["optional-dependencies"].values() for line in extra),
        *PROJECT["dependency-groups"]["dev"],
    ],
}  # fmt: skip
FILES = (
    *(ROOT / name for name in ("Makefile", "Dockerfile", "README.md", ".pre-commit-config.yaml", ".ci/run")),
    *(ROOT / ".github").rglob("*.yml"),
    *(ROOT / "docs").rglob("*.md"),
)
COMPLETE = pytest.mark.parametrize("lock", NEEDS, ids=lambda lock: lock.name)
# The packages of the documentation site and of the generators are not installed for the tests; `make docs`,
# `make description` and `make generator` check their locks.
LOCKS = pytest.mark.parametrize("lock", [*NEEDS, DOCS, DESCRIPTION, GENERATOR], ids=lambda lock: lock.name)
NODE_LOCKS = [path for path in ROOT.rglob("package-lock.json") if "node_modules" not in path.parts]


# --- what the locks say -------------------------------------------------------------------------------------


@LOCKS
def test_a_lock_names_one_version_and_its_hashes(lock: Path) -> None:
    entries = read_entries(lock)
    assert entries
    for entry, hashes in entries:
        assert re.fullmatch(r"==[^*,]+", str(entry.specifier)), entry
        assert entry.url is None, entry
        assert hashes, entry
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", digest) for digest in hashes), entry
    assert "://" not in lock.read_text()


@pytest.mark.parametrize("lock", NODE_LOCKS, ids=lambda lock: lock.parent.name)
def test_a_lock_of_node_packages_has_hashes_and_no_addresses(lock: Path) -> None:
    packages: dict[str, dict[str, Any]] = json.loads(lock.read_text())["packages"]
    wanted = json.loads((lock.parent / "package.json").read_text())
    named = {**wanted.get("dependencies", {}), **wanted.get("devDependencies", {})}
    assert named.keys() <= {name.rpartition("node_modules/")[2] for name in packages}
    assert all(re.fullmatch(r"[0-9.]+", version) for version in named.values()), "exact versions"
    assert "://" not in lock.read_text()
    for name, package in packages.items():
        assert not name or package["integrity"].startswith("sha512-"), name


@COMPLETE
def test_a_lock_is_complete(lock: Path) -> None:
    """Under this Python and on this platform; the requirements are those of the installed packages."""
    assert find_missing(NEEDS[lock], locked_here(lock)) == []


def test_a_lock_without_what_an_extra_requires_is_incomplete() -> None:
    locked = locked_here(DEV)
    del locked["greenlet"]
    assert find_missing(["sqlalchemy"], locked_here(DEV)) == []
    assert [line.split(" ")[-1] for line in find_missing(["sqlalchemy[asyncio]"], locked)] == ["sqlalchemy)"]


@pytest.mark.parametrize("lock", [RUNTIME, BUILD, S3], ids=lambda lock: lock.name)
def test_the_locks_agree(lock: Path) -> None:
    """The environment of the tests is that of the service, and more."""
    assert locked_here(lock).items() <= locked_here(DEV).items()


def test_the_lock_of_the_site_changes_no_other_package() -> None:
    """`make docs` installs into the environment of the tests."""
    ours, theirs = locked_here(DOCS), locked_here(DEV)
    assert {name: ours[name] for name in ours.keys() & theirs} == {
        name: theirs[name] for name in ours.keys() & theirs
    }
    assert {Requirement(line).name for line in PROJECT["dependency-groups"]["docs"]} <= ours.keys()


def test_every_installation_is_of_a_lock_alone() -> None:
    """`pip install` and `pip wheel` neither resolve nor take what has no hash, wherever they are called."""
    calls = [
        (path.name, call)
        for path in FILES
        for call in re.findall(
            r"^[^#\n]*?(\$\(PIP_INSTALL\).*|\$\(PIP\) install.*|pip3? (?:--\S+ )*(?:install|wheel) [^`\n]*)",
            path.read_text().replace("\\\n", " "),
            re.MULTILINE,
        )
    ]
    of_locks = [call for call in calls if "requirements" in call[1]]
    assert "Makefile" not in {name for name, _ in of_locks}, "it names the options once, in INSTALL_LOCK"
    assert {"Dockerfile", "settings.md"} <= {name for name, _ in of_locks}
    for name, call in calls:
        words = shlex.split(call.split("&&")[0])
        if words == ["$(PIP)", "install", "--quiet"]:
            continue  # PIP_INSTALL itself
        assert "--no-deps" in words, (name, call)
        assert "--require-hashes" in words or "--no-index" in words, (name, call)


# --- what an installation does ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder of wheels, and its address as an index. It offers newer versions beside the locked ones."""
    folder = tmp_path_factory.mktemp("index")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class calls it
        pass


@pytest.fixture(scope="module")
def lines(index: tuple[Path, str]) -> dict[str, str]:
    """What a lock says of made-up packages; `measured` and `reader` exist in a newer version, too."""
    folder, _ = index
    found = {
        "measured": make_wheel(
            folder, "measured", "1.0", requires=['reader>=1; extra == "toml"'], extra="toml"
        ),
        "reader": make_wheel(folder, "reader", "1.0"),
        "plugin": make_wheel(folder, "plugin", "1.0", requires=["measured[toml]>=1.0"]),
        "builder": make_wheel(folder, "builder", "1.0"),
    }
    make_wheel(folder, "measured", "2.0", requires=["reader>=2"])
    make_wheel(folder, "reader", "2.0")
    return found


Make = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with our Makefile and an empty environment, as stock as this Python makes it."""
    checkout = tmp_path_factory.mktemp("machine")
    shutil.copy(ROOT / "Makefile", checkout)
    (checkout / "pyproject.toml").touch()
    done = _make(checkout, {}, ".venv/bin/.made")
    assert done.returncode == 0, done.stderr
    (checkout / ".venv/bin/.project").touch()  # the project itself is not part of this
    return checkout


@pytest.fixture
def make(machine: Path, index: tuple[Path, str]) -> Make:
    """Runs make on locks that the test writes, with the made-up index and nothing else."""
    _, address = index
    environment = {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_NO_CACHE_DIR": "1",
        "PIP_FIND_LINKS": address,
    }

    def run(runtime: str, dev: str, build: str) -> subprocess.CompletedProcess[str]:
        shutil.copy(ROOT / "Makefile", machine)
        for name, text in (("", runtime), ("-dev", dev), ("-build", build)):
            (machine / f"requirements{name}.lock").write_text(text)
        for installed in ("plugin", "measured", "reader", "builder"):
            for path in machine.glob(f".venv/lib/python*/site-packages/{installed}*"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        for stamp in (".runtime", ".dev", ".checked"):
            (machine / ".venv/bin" / stamp).unlink(missing_ok=True)
        return _make(machine, environment, ".venv/bin/.runtime", ".venv/bin/.dev", ".venv/bin/.checked")

    return run


def _make(checkout: Path, environment: dict[str, str], *targets: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "MAKE"))}
    return subprocess.run(
        ["make", f"PYTHON={sys.executable}", *targets],
        cwd=checkout,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def installed(machine: Path) -> dict[str, str]:
    names = (path.name.removesuffix(".dist-info") for path in machine.rglob("site-packages/*.dist-info"))
    found = dict(name.split("-", 1) for name in names)
    return {name: found[name] for name in ("plugin", "measured", "reader", "builder") if name in found}


def test_a_later_release_changes_nothing(machine: Path, make: Make, lines: dict[str, str]) -> None:
    """The lock names no extras, as ours do; `plugin` requires `measured[toml]`, and a newer is offered."""
    done = make(lines["reader"], lines["plugin"] + lines["measured"] + lines["reader"], lines["builder"])
    assert done.returncode == 0, done.stderr
    assert installed(machine) == {"plugin": "1.0", "measured": "1.0", "reader": "1.0", "builder": "1.0"}


def test_an_incomplete_lock_is_told(make: Make, lines: dict[str, str]) -> None:
    done = make(lines["reader"], lines["plugin"] + lines["reader"], lines["builder"])
    assert done.returncode != 0
    assert "plugin 1.0 requires measured, which is not installed" in done.stderr
    assert "make clean" in done.stderr


def test_a_wheel_that_is_not_the_locked_one_is_refused(make: Make, lines: dict[str, str]) -> None:
    changed = re.sub(r"sha256:\w{8}", "sha256:00000000", lines["measured"])
    done = make(changed, lines["measured"], lines["builder"])
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr
