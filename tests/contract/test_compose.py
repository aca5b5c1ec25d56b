"""What can be known of the packaging without an engine: the files agree with the settings, the command, the
app."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml  # type: ignore[import-untyped]
from pydantic import AliasChoices

from app.cli import commands
from app.settings import Settings, read_settings
from tests.described import describe

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
OURS = ("migrate", "web", "worker")
OUTSIDE = {"POSTGRES_PASSWORD", "HOST_PORT"}
"""What only the compose file itself reads."""


def variables() -> set[str]:
    """Every variable that the service reads."""
    found = set()
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        found.add(str(alias.choices[0]) if isinstance(alias, AliasChoices) else f"AFTERCALL_{name.upper()}")
    return found


def example() -> dict[str, str]:
    lines = (ROOT / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def instructions(name: str) -> list[str]:
    joined = DOCKERFILE.replace("\\\n", " ")
    return re.findall(rf"^{name} (.+)$", joined, re.MULTILINE)


def parse(arguments: list[str]) -> None:
    """Read a command line as `aftercall` would, without running it."""
    cli: Any = typer.main.get_command(commands.app)
    command = cli.commands[arguments[0]]
    command.make_context(arguments[0], list(arguments[1:]))


@pytest.mark.parametrize("service", OURS)
def test_every_variable_that_compose_sets_is_a_setting(service: str) -> None:
    assert set(COMPOSE["services"][service]["environment"]) <= variables()


def test_the_values_that_compose_sets_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in COMPOSE["services"]["web"]["environment"].items():
        monkeypatch.setenv(name, re.sub(r"\$\{\w+(?::[?-][^}]*)?\}", "0123456789abcdef" * 2, value))
    settings = read_settings()
    assert (
        settings.database_url
        == f"postgresql+asyncpg://aftercall:{'0123456789abcdef' * 2}@postgres:5432/aftercall"
    )
    assert settings.migrate_on_start is False


def test_every_variable_of_the_example_is_read_by_somebody() -> None:
    assert set(example()) <= variables() | OUTSIDE


def test_whatever_compose_takes_from_outside_stands_in_the_example() -> None:
    taken = set(re.findall(r"\$\{(\w+)", COMPOSE_TEXT))
    assert taken <= set(example())
    required = set(re.findall(r"\$\{(\w+):\?", COMPOSE_TEXT))
    assert required == {"AFTERCALL_SECRET_KEY", "AFTERCALL_WEBHOOK_TOKEN", "POSTGRES_PASSWORD"}
    assert {name: value for name, value in example().items() if name in required and value} == {}


@pytest.mark.parametrize("service", OURS)
def test_every_service_runs_a_command_that_there_is(service: str) -> None:
    parse(COMPOSE["services"][service]["command"])


def test_one_service_answers_one_works_and_both_wait_for_the_schema() -> None:
    services = COMPOSE["services"]
    assert services["web"]["command"][-2:] == ["--role", "web"]
    assert services["worker"]["command"][-2:] == ["--role", "worker"]
    for name in ("web", "worker"):
        waits = services[name]["depends_on"]
        assert waits["migrate"] == {"condition": "service_completed_successfully"}
        assert waits["postgres"] == {"condition": "service_healthy"}
    assert services["postgres"]["healthcheck"]["test"][1] == "pg_isready"
    assert set(COMPOSE["volumes"]) == {"database"}
    assert services["postgres"]["volumes"] == ["database:/var/lib/postgresql/data"]


def mounts(service: str) -> dict[str, Path]:
    """Where a service of the profile finds which file or folder of ours."""
    found = {}
    for volume in COMPOSE["services"][service]["volumes"]:
        ours, theirs, mode = volume.split(":")
        assert mode == "ro"
        found[theirs] = ROOT / ours
    return found


def test_the_profile_monitoring_is_apart_and_pinned() -> None:
    apart = {name for name, service in COMPOSE["services"].items() if "profiles" in service}
    assert apart == {"prometheus", "grafana"}
    for name in apart:
        service = COMPOSE["services"][name]
        assert service["profiles"] == ["monitoring"]
        assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+", service["image"])
        assert all(path.exists() for path in mounts(name).values())
    for service in COMPOSE["services"].values():
        assert not apart & set(service.get("depends_on", [])) or service.get("profiles")


def test_prometheus_finds_its_rules_and_every_replica() -> None:
    found = mounts("prometheus")
    command = COMPOSE["services"]["prometheus"]["command"]
    path = next(word.partition("=")[2] for word in command if word.startswith("--config.file="))
    config = yaml.safe_load(found[path].read_text())
    assert all(str(Path(path).parent / rules) in found for rules in config["rule_files"])
    (job,) = config["scrape_configs"]
    (lookup,) = job["dns_sd_configs"]
    assert job["job_name"] == "aftercall"
    for name in lookup["names"]:
        command = COMPOSE["services"][name]["command"]
        assert command[command.index("--port") + 1] == str(lookup["port"])
    assert set(lookup["names"]) == {"web", "worker"}


def test_grafana_finds_prometheus_and_the_dashboard() -> None:
    found = mounts("grafana")
    provisioning = found["/etc/grafana/provisioning"]
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "aftercall.yml").read_text())["providers"]
    assert (found[provider["options"]["path"]] / "aftercall.json").exists()
    home = COMPOSE["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert Path(home).parent == Path(provider["options"]["path"])


def test_nothing_is_published_beyond_this_machine() -> None:
    for service in COMPOSE["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_the_image_runs_the_service_on_all_addresses_without_root() -> None:
    entry = yaml.safe_load(instructions("ENTRYPOINT")[-1])
    assert entry == ["aftercall"]
    parse(yaml.safe_load(instructions("CMD")[-1]))
    assert "0.0.0.0" in instructions("CMD")[-1]  # noqa: S104 - inside a container
    uid = instructions("USER")[-1].partition(":")[0]
    assert uid.isdecimal()
    assert uid != "0"


def test_the_image_looks_after_its_health_at_a_path_that_answers() -> None:
    command = yaml.safe_load(instructions("HEALTHCHECK")[0].partition("CMD ")[2])
    assert command[0] == "python"
    compile(command[2], "healthcheck", "exec")
    path = re.search(r"http://127\.0\.0\.1:8000(/\w+)", command[2])
    assert path is not None
    assert "get" in describe()["paths"][path[1]]


def test_everything_that_is_copied_exists_and_is_let_in() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        source
        for line in instructions("COPY")
        if not line.startswith("--from=")
        for source in shlex.split(line)[:-1]
    }
    assert copied == let_in
    assert all((ROOT / source).exists() for source in copied)


def test_what_is_installed_is_what_the_locks_say() -> None:
    installs = re.findall(r"pip (?:install|wheel) .+", DOCKERFILE)
    assert installs
    assert len(installs) == DOCKERFILE.count("pip install") + DOCKERFILE.count("pip wheel")
    assert all("--require-hashes" in line or "--no-index" in line for line in installs)


def test_the_environment_file_is_never_committed() -> None:
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()
