"""The words around the code are true: links lead somewhere, and names that pages mention exist."""

import json
import re
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from app.api.problems import PROBLEM_TYPES
from app.calls.listing.filters import ListQuery
from app.calls.schemas import CallOut

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / ".github").rglob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCES = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)", re.DOTALL)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
PATH = re.compile(r"`((?:app|tests|bench|migrations|docs)/[\w./-]+)`")
NAMES = re.compile(r"`(app/[\w/]+\.py)`((?:,? `[A-Za-z_.]+`)+)")


def anchor(heading: str) -> str:
    """The anchor that a heading gets where Markdown is shown."""
    bare = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower())
    return bare.strip().replace(" ", "-")


def anchors(page: Path) -> set[str]:
    return {anchor(heading) for heading in HEADING.findall(words(page))} if page.suffix == ".md" else set()


def words(page: Path) -> str:
    return FENCES.sub("", page.read_text())


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for target in LINK.findall(words(page)):
        if target.startswith(("https://", "http://")):
            continue
        path, _, fragment = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        if not found.exists() or (fragment and fragment not in anchors(found)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_path_exists(page: Path) -> None:
    assert [path for path in PATH.findall(page.read_text()) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_name_beside_a_module_is_in_it(page: Path) -> None:
    for path, listed in NAMES.findall(page.read_text()):
        module = import_module(path.removesuffix(".py").replace("/", "."))
        for name in re.findall(r"`([A-Za-z_.]+)`", listed):
            thing = module
            for part in name.split("."):
                assert hasattr(thing, part), f"{path} has no {name}"
                thing = getattr(thing, part)


def test_architecture_names_what_it_talks_of() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    assert len(NAMES.findall(page)) >= 20


def test_architecture_draws_the_layers_of_the_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    lines = next(one["layers"] for one in contracts if one["containers"] == ["app"])
    page = (ROOT / "docs/architecture.md").read_text()
    drawn = re.search(r"^```\n(__main__ .+?)^```$", page, re.MULTILINE | re.DOTALL)
    assert drawn is not None
    assert [one.strip().replace(", ", " | ") for one in drawn[1].split(">")] == lines


def test_architecture_lists_every_package_with_its_sub_packages() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    rows = re.findall(r"^\| `app/(\w+)` \| [^|]+ \| ([^|]*)\|$", page, re.MULTILINE)
    listed = {name: sorted(re.findall(r"`(\w+)`", inside)) for name, inside in rows}
    assert listed == {
        found.parent.name: sorted(inner.parent.name for inner in found.parent.glob("*/__init__.py"))
        for found in (ROOT / "app").glob("*/__init__.py")
    }


def test_every_page_is_on_the_map() -> None:
    listed = {
        (ROOT / "docs" / link.partition("#")[0]).resolve()
        for link in LINK.findall(words(ROOT / "docs/index.md"))
    }
    assert [
        named(page)
        for page in PAGES
        if page.is_relative_to(ROOT / "docs") and page.name != "index.md" and page not in listed
    ] == []


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    listed = set(re.findall(r"([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    assert listed == {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}


def test_the_call_in_the_readme_has_fields_of_the_api() -> None:
    blocks = re.findall(r"^```json\n(.+?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    (shown,) = map(json.loads, blocks)
    described = CallOut.model_json_schema(by_alias=True, mode="serialization")["properties"]
    assert set(shown) <= set(described)


def test_the_guide_lists_every_filter_and_order() -> None:
    guide = (ROOT / "docs/api/guide.md").read_text()
    paragraph = re.search(r"^Filters: .+?\n\n", guide, re.MULTILINE | re.DOTALL)
    assert paragraph is not None
    schema = ListQuery.model_json_schema(by_alias=True)
    orders = set(schema["$defs"]["Order"]["enum"])
    filters = set(schema["properties"]) - {"order", "limit", "cursor"}
    assert set(re.findall(r"`(-?\w+)`", paragraph[0])) == filters | orders | {"order"}


def test_the_page_of_problems_tells_of_each_what_the_service_tells() -> None:
    page = (ROOT / "docs/api/problems.md").read_text()
    rows = re.findall(r"^\| `([\w-]+)` \| (\d+) \| `(\w+)` \| (.+) \| (.+) \|$", page, re.MULTILINE)
    told = {name: (int(status), fault, title, advice) for name, status, fault, title, advice in rows}
    assert told == {
        name: (kind.status, kind.fault, kind.title, kind.remedy) for name, kind in PROBLEM_TYPES.items()
    }


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=named)
def test_every_problem_that_a_page_shows_is_as_the_service_words_it(page: Path) -> None:
    shown = re.findall(
        r'"type": "/problems/([\w-]+)",\s+"title": "([^"]+)",\s+"status": (\d+)',
        page.read_text(),
        re.MULTILINE,
    )
    assert all(
        (PROBLEM_TYPES[name].title, str(PROBLEM_TYPES[name].status)) == (title, status)
        for name, title, status in shown
    )
