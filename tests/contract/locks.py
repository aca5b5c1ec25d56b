"""Reads the locks, and makes wheels and locks of packages that do not exist."""

import base64
import hashlib
import re
import zipfile
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

Versions = dict[str, Version]


def read_entries(lock: Path) -> list[tuple[Requirement, list[str]]]:
    """Return each requirement of a lock with its hashes."""
    lines = lock.read_text().replace("\\\n", " ").splitlines()
    entries = [line for line in lines if line.strip() and not line.startswith("#")]
    return [
        (Requirement(entry.split(" --hash=")[0]), re.findall(r"--hash=(\S+)", entry)) for entry in entries
    ]


def locked_here(lock: Path) -> Versions:
    """Return what a lock installs on this platform, under this Python."""
    return {
        canonicalize_name(entry.name): Version(str(entry.specifier).removeprefix("=="))
        for entry, _ in read_entries(lock)
        if entry.marker is None or entry.marker.evaluate()
    }


def find_missing(roots: Iterable[str], locked: Mapping[str, Version]) -> list[str]:
    """Return what a lock lacks of what `roots` require, directly or through others, with the extras asked
    for."""
    missing: list[str] = []
    waiting = [(Requirement(root), "the project") for root in roots]
    seen: set[tuple[str, str]] = set()
    while waiting:
        wanted, by = waiting.pop()
        name = canonicalize_name(wanted.name)
        if name not in locked:
            missing.append(f"{wanted} (for {by})")
            continue
        if not wanted.specifier.contains(locked[name], prereleases=True):
            missing.append(f"{wanted} (for {by}): {locked[name]} is locked")
        for extra in ("", *wanted.extras):
            if (name, extra) not in seen:
                seen.add((name, extra))
                waiting += [(found, name) for found in _requirements(name, extra)]
    return sorted(missing)


def _requirements(name: str, extra: str) -> list[Requirement]:
    found = [Requirement(line) for line in metadata.requires(name) or ()]
    return [one for one in found if one.marker is None or one.marker.evaluate({"extra": extra})]


def make_wheel(
    folder: Path, name: str, version: str, *, requires: Iterable[str] = (), extra: str = ""
) -> str:
    """Write a wheel of a package that does nothing. Return the line that a lock has for it."""
    info = f"{name}-{version}.dist-info"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Provides-Extra: {extra}"] if extra else []
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    files = {
        f"{name}.py": f'VERSION = "{version}"\n',
        f"{info}/METADATA": "\n".join([*lines, ""]),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [f"{path},sha256={_digest(text)},{len(text)}" for path, text in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""])
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for inside, text in files.items():
            wheel.writestr(inside, text)
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
