"""The workflows run only pinned actions with few rights, and a release publishes the changelog's section."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

import app

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
RELEASE: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())
FORMS = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))
EACH_WORKFLOW = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)


def command_of(step: str) -> str:
    return next(str(one["run"]) for one in RELEASE["jobs"]["release"]["steps"] if one.get("name") == step)


def run(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a step as the workflow does: bash that stops at the first failure."""
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", command],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "GITHUB_OUTPUT": str(folder / "output"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@EACH_WORKFLOW
def test_every_action_is_pinned_by_its_hash(path: Path) -> None:
    used = re.findall(r"uses: (\S+)", path.read_text())
    assert used
    assert [one for one in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", one)] == []


@EACH_WORKFLOW
def test_a_workflow_may_write_nothing_unless_a_job_needs_it(path: Path) -> None:
    permissions = yaml.safe_load(path.read_text())["permissions"]
    assert permissions in ({}, {"contents": "read"})


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "app").mkdir()
    (tmp_path / "app/__init__.py").write_text((ROOT / "app/__init__.py").read_text())
    changelog = (ROOT / "CHANGELOG.md").read_text()
    dated = re.sub(
        rf"^## {re.escape(app.__version__)} - .+$",
        f"## {app.__version__} - 2026-12-01",
        changelog,
        flags=re.M,
    )
    (tmp_path / "CHANGELOG.md").write_text(dated + "\n## 0.0.1 - 2026-01-01\n\n- The first one.\n")
    return tmp_path


def test_a_release_checks_that_tag_code_and_changelog_agree(checkout: Path) -> None:
    check = command_of("Check that tag, code and changelog name the same version")
    assert run(check, checkout, GITHUB_REF_NAME=f"v{app.__version__}").returncode == 0
    assert (checkout / "output").read_text() == f"version={app.__version__}\n"
    assert run(check, checkout, GITHUB_REF_NAME="v9.9.9").returncode != 0
    (checkout / "CHANGELOG.md").write_text(f"## {app.__version__} - unreleased\n")
    assert run(check, checkout, GITHUB_REF_NAME=f"v{app.__version__}").returncode != 0


def test_the_notes_of_a_release_are_its_section_of_the_changelog(checkout: Path) -> None:
    assert (
        run(command_of("Write the notes from the changelog"), checkout, VERSION=app.__version__).returncode
        == 0
    )
    notes = (checkout / "notes.md").read_text()
    assert notes.count("\n- ") > 5
    assert "The first one" not in notes
    assert "\n## " not in notes


@pytest.mark.parametrize(
    "path", [path for path in FORMS if path.name != "config.yml"], ids=lambda path: path.name
)
def test_an_issue_form_names_each_field_once(path: Path) -> None:
    form = yaml.safe_load(path.read_text())
    assert {"name", "description", "body"} <= form.keys()
    ids = [field["id"] for field in form["body"] if field["type"] != "markdown"]
    assert len(set(ids)) == len(ids) > 0
    assert all(field["attributes"].get("label") for field in form["body"] if field["type"] != "markdown")
