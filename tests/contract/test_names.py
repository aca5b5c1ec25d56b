"""A name means one thing: no public class name is used twice in a layer, and pages mention existing names.

Paths, and names beside a module, are checked in test_docs.py; the values of metrics, settings, problems and
simulator switches in the tests of their pages.
"""

import ast
import json
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer.main
from pydantic.alias_generators import to_camel

from app.cli import commands
from app.db.tables import metadata
from app.main import create_app
from app.settings import read_settings
from tests.conftest import SECRETS
from tests.described import describe

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
CODE_PAGES = [
    *ROOT.glob("CONTRIBUTING.md"),
    *(ROOT / "docs" / name for name in ("architecture.md", "glossary.md", "performance.md", "upgrades.md")),
    *sorted((ROOT / "docs/decisions").glob("*.md")),
]
"""Pages for people who read the code: each capitalised or dotted name on them is one of the code's."""

FENCES = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
QUOTED = re.compile(r"`([^`\n]+)`")
METHODS = r"GET|HEAD|POST|PUT|PATCH|DELETE"

# --- class names --------------------------------------------------------------------------------------------

TO_BE_RENAMED = {"Session"}
"""Each means two things in one layer today. Take a name out when it means one; add none."""

# --- names that are not ours, as the pages quote them -------------------------------------------------------

NOT_CODE = {"HttpOnly", "NaN", "RateLimit"}
RINGCENTRAL = {
    *("Active", "Automatic", "CallControl", "Detailed", "Fax", "Inbound", "Missed", "OnDemand", "Outbound"),
    *("PSTN", "ReadCallLog", "ReadCallRecording", "Simple", "SubscriptionWebhook", "VoIP", "Voice"),
}
LIBRARIES = {
    *(
        "BaseModel",
        "EventSource",
        "FileResponse",
        "make_url",
        "InterfaceError",
        "OperationalError",
        "TypeAdapter",
    ),
    *("asyncio.Task", "asyncio.TaskGroup", "email.parser", "email.utils", "json.loads", "urllib.parse"),
    *("pgbouncer", "xmin"),
}
NOT_PYTHON = re.compile(r"\.(?:md|py|yml|toml|json|lock|log|mp3|svg)$|^(?:www|status)\.|\.com$|^\d")


def layers() -> Mapping[str, int]:
    """The line of the `layers` contract with each package of `app`. Different lines may share a name."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    lines = next(one["layers"] for one in contracts if one["containers"] == ["app"])
    return {package: number for number, line in enumerate(lines) for package in line.split(" | ")}


@cache
def trees() -> Mapping[Path, ast.Module]:
    return {path.relative_to(ROOT): ast.parse(path.read_text()) for path in (ROOT / "app").rglob("*.py")}


def class_names() -> dict[tuple[int, str], list[str]]:
    """The modules that define each public class, by layer."""
    placed = layers()
    found: dict[tuple[int, str], list[str]] = defaultdict(list)
    for path, tree in trees().items():
        package = path.parts[1].removesuffix(".py")
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and package in placed:
                found[placed[package], node.name].append(str(path))
    return found


def test_a_public_class_name_means_one_thing_within_a_layer() -> None:
    twice = {name: where for (_, name), where in class_names().items() if len(where) > 1}
    assert {name: where for name, where in twice.items() if name not in TO_BE_RENAMED} == {}


def test_what_is_allowed_twice_is_used_twice() -> None:
    twice = {name for (_, name), where in class_names().items() if len(where) > 1}
    assert sorted(TO_BE_RENAMED - twice) == []


# --- names on the pages -------------------------------------------------------------------------------------


@cache
def identifiers() -> frozenset[str]:
    """All names in the code: definitions, arguments, attributes, tables, columns, and exact texts."""
    found: set[str] = set()
    for tree in trees().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                found.add(node.name)
            elif isinstance(node, ast.Name):
                found.add(node.id)
            elif isinstance(node, ast.arg | ast.keyword) and node.arg:
                found.add(node.arg)
            elif isinstance(node, ast.Attribute):
                found.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 80:
                found.add(node.value)
    for mapping in (ROOT / "app/projections/mappings").glob("*.toml"):
        found |= set(re.findall(r"[\w.]+", mapping.read_text()))
    found |= set(metadata.tables) | {
        column.name for table in metadata.sorted_tables for column in table.columns
    }
    return frozenset(found)


@cache
def camel_names() -> frozenset[str]:
    described = json.dumps(describe()) + (ROOT / "app/ops/dashboard/board.py").read_text()
    return frozenset(
        set(map(to_camel, filter(str.isidentifier, identifiers())))
        | identifiers()
        | set(re.findall(r"\b[a-z]+[A-Z]\w*", described))
        | set(re.findall(r"\b[a-z]+[A-Z]\w*", " ".join(texts())))
    )


@cache
def texts() -> tuple[str, ...]:
    """Every text of the code, the parts of a formatted one apart."""
    return tuple(
        node.value
        for tree in trees().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


@cache
def members() -> Mapping[str, set[str]]:
    """What each module, class and table holds, by its name alone."""
    found: dict[str, set[str]] = defaultdict(set)
    for path, tree in trees().items():
        for holder, body in _scopes(path, tree):
            for node in body:
                if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                    found[holder].add(node.name)
                elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                    found[holder].add(node.target.id)
                elif isinstance(node, ast.Assign):
                    found[holder] |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    for table in metadata.sorted_tables:
        found[table.name] |= {column.name for column in table.columns}
    return found


def _scopes(path: Path, tree: ast.Module) -> Iterator[tuple[str, list[ast.stmt]]]:
    yield path.stem, tree.body
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield node.name, node.body


@cache
def routes() -> tuple[tuple[str, str, frozenset[str]], ...]:
    """Method, path and query parameters of every route, those of the pages for people included."""
    described = [
        (method.upper(), path, frozenset(one["name"] for one in operation.get("parameters", ())))
        for path, methods in describe()["paths"].items()
        for method, operation in methods.items()
    ]
    app = create_app(read_settings(**SECRETS, database_url="sqlite:///unused.db"))
    others = [
        (method, route.path, frozenset({"*"}))
        for route in _flat(app.routes)
        for method in route.methods or ()
        if route.path not in describe()["paths"]
    ]
    return tuple(described + others)


def _flat(found: Any) -> Iterator[Any]:
    for route in found:
        if hasattr(route, "original_router"):  # newer FastAPI puts an included router in as one entry
            yield from _flat(route.original_router.routes)
        elif hasattr(route, "methods"):
            yield route


def quoted(page: Path) -> list[str]:
    return QUOTED.findall(FENCES.sub("", page.read_text()))


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


EACH_PAGE = pytest.mark.parametrize("page", PAGES, ids=named)
EACH_CODE_PAGE = pytest.mark.parametrize("page", CODE_PAGES, ids=named)


@EACH_PAGE
def test_every_class_on_a_page_exists(page: Path) -> None:
    alerts = (ROOT / "monitoring/alerts.yml").read_text()
    named_classes = [one for one in quoted(page) if re.fullmatch(r"[A-Z][a-z]+(?:[A-Z][A-Za-z]*)+", one)]
    known = identifiers() | RINGCENTRAL | LIBRARIES | NOT_CODE | set(re.findall(r"alert: (\w+)", alerts))
    assert [one for one in named_classes if one not in known] == []


@EACH_CODE_PAGE
def test_every_name_on_a_page_about_the_code_exists(page: Path) -> None:
    known = identifiers() | RINGCENTRAL | LIBRARIES
    words = [one for one in quoted(page) if re.fullmatch(r"[A-Z][a-z]+", one)]
    headers = re.compile(r"Host|Origin|Secure|Route|Link|Range|Accept|Age")  # HTTP's and Starlette's
    assert [one for one in words if one not in known and not headers.fullmatch(one)] == []
    dotted = [
        one.removesuffix("()") for one in quoted(page) if re.fullmatch(r"[A-Za-z_]+(\.\w+)+(\(\))?", one)
    ]
    assert [one for one in dotted if not NOT_PYTHON.search(one) and not exists(one)] == []


def exists(dotted: str) -> bool:
    """Whether a name such as `ledger.open_ledger`, `Inbox.accept` or `accounts.bound_to` exists."""
    if dotted in LIBRARIES or dotted in identifiers() or dotted.startswith(("tests.", "bench.")):
        return dotted in LIBRARIES or dotted in identifiers() or find_spec(dotted) is not None
    if dotted == "alembic_version.serves_since":  # a column that Alembic's own table gets, app/db/schema.py
        return True
    holder, name = dotted.split(".")[-2:]
    return name in members().get(holder, set())


@EACH_PAGE
def test_every_function_or_column_on_a_page_exists(page: Path) -> None:
    names = [
        one.removesuffix("()") for one in quoted(page) if re.fullmatch(r"_?[a-z]+(_[a-z]+)+(\(\))?", one)
    ]
    known = identifiers() | LIBRARIES | POSTGRESQL | metric_names()
    assert [one for one in names if one not in known and one != EXAMPLE] == []


EXAMPLE = "test_rolled_back_writes_are_invisible"
"""The model of a test's name in CONTRIBUTING.md."""

POSTGRESQL = {
    "pg_backend_pid",
    "statement_timeout",
    "channel_binding",
    "target_session_attrs",
    "recovery_target_time",
}


@cache
def metric_names() -> frozenset[str]:
    text = (ROOT / "app/metrics.py").read_text()
    families = set(re.findall(r'"(aftercall_\w+)"', text))
    return frozenset(families | {f"{one}_total" for one in families} | {f"{one}_count" for one in families})


@EACH_PAGE
def test_every_metric_on_a_page_exists(page: Path) -> None:
    mentioned = set(re.findall(r"\baftercall_(?!\.)[a-z_]+[a-z]\b", page.read_text()))
    assert sorted(mentioned - metric_names() - identifiers()) == []


@cache
def variables() -> frozenset[str]:
    """Every environment variable that the service, its tests or its build read."""
    files = [
        *(ROOT / "app").rglob("*.py"),
        *(ROOT / "tests").rglob("*.py"),
        ROOT / ".ci/run",
        ROOT / "Makefile",
        ROOT / "docs/settings.md",  # test_settings_docs.py holds its tables to the settings
    ]
    return frozenset(
        one for path in files for one in re.findall(r"\b(?:AFTERCALL|RC)_[A-Z0-9_]+\b", path.read_text())
    )


@EACH_PAGE
def test_every_variable_on_a_page_is_read_somewhere(page: Path) -> None:
    mentioned = set(re.findall(r"\b(?:AFTERCALL|RC)_[A-Z0-9_]*[A-Z0-9]\b", page.read_text()))
    assert sorted(mentioned - variables()) == []


@EACH_PAGE
def test_every_field_on_a_page_exists(page: Path) -> None:
    fields = [one for one in quoted(page) if re.fullmatch(r"[a-z]+(?:[A-Z][a-z]*)+", one)]
    assert [one for one in fields if one not in camel_names()] == []


@EACH_PAGE
def test_every_route_on_a_page_exists(page: Path) -> None:
    ours = re.compile(
        rf"(?:({METHODS}) )?((?:/(?:v1|dashboard|docs|oauth|healthz|readyz|metrics|problems)|…/)\S*)"
    )
    missing = []
    for one in quoted(page):
        found = ours.fullmatch(one)
        if found and page.name != "simulator.md" and not leads(found[1], found[2]):
            missing.append(one)
    assert missing == []


def leads(method: str | None, address: str) -> bool:
    """Whether a route accepts a path: with or without method and query, `…` in place of its beginning."""
    path, _, query = address.partition("?")
    wanted = {part.split("=")[0] for part in query.split("&") if part}
    parts = path.rstrip("/").split("/")
    for one_method, template, parameters in routes():
        own = template.rstrip("/").split("/")
        begins = own[: len(parts)] if method is None and path in {"/v1", "/v1/ops", "/problems/"} else own
        tail = begins[len(own) - len(parts) + 1 :] if parts[0] == "…" else begins
        asked = parts[1:] if parts[0] == "…" else parts
        if (
            len(tail) == len(asked)
            and all(a == b or "{" in a or "{" in b for a, b in zip(tail, asked, strict=True))
            and method in {None, one_method, "HEAD"}
            and (wanted <= parameters or "*" in parameters)
        ):
            return True
    return False


@EACH_PAGE
def test_every_command_on_a_page_exists(page: Path) -> None:
    text = page.read_text()
    called = re.findall(
        r"(?:^|`|/bin/|web |\$ )aftercall ((?:[a-z-]+|--[a-z-]+)(?: [^`\n#<|;&]+)?)", text, re.MULTILINE
    )
    assert [one for one in called if not is_command(one.split())] == []


def is_command(words: list[str]) -> bool:
    command: Any = typer.main.get_command(commands.app)
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    options = {
        option for parameter in command.params for option in [*parameter.opts, *parameter.secondary_opts]
    }
    given = {word for word in words if re.fullmatch(r"--[a-z-]+", word)} - {"--help"}
    return not (hasattr(command, "commands") and words) and given <= options


@EACH_PAGE
def test_every_make_target_and_module_on_a_page_exists(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    text = page.read_text()
    targets = re.findall(r"(?:`|^\$ |^)make ([a-z-]+)", text, re.MULTILINE)
    assert [one for one in targets if not re.search(rf"^{one}:", makefile, re.MULTILINE)] == []
    modules = re.findall(r"python -m ((?:bench|tests|app)[\w.]*)", text)
    assert [one for one in modules if find_spec(one) is None] == []
    scripts = re.findall(r"`(\w+\.py)`", text)
    assert [one for one in scripts if not list(ROOT.glob(f"[!.]*/**/{one}"))] == []


@EACH_PAGE
def test_every_text_that_a_page_quotes_from_the_log_is_logged(page: Path) -> None:
    sentences = [one for one in quoted(page) if re.fullmatch(r"[a-z]+(?: [a-z,()…']+){2,}", one)]
    sentences = [one for one in sentences if not one.startswith(("aftercall ", "make ", "docker ", "pip "))]
    sentences += re.findall(r'`"event": "([^"]+)"', page.read_text())
    everything = "\n".join(texts())
    pieces = [piece.strip("(), ") for one in sentences for piece in one.split("…")]
    assert [piece for piece in pieces if piece not in everything] == []
