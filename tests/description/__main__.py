"""Run linters and generators over the API description, and the generated clients against the service.

    python -m tests.description             spectral, redocly, openapi-typescript, openapi-python-client
    python -m tests.description generator   openapi-generator (typescript-fetch), which needs Java
    python -m tests.description clients     builds and tests clients/typescript

`make description`, `make generator` and `make clients` install what this needs. Independent steps run at the
same time.
"""

import asyncio
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Sequence
from pathlib import Path

import structlog

from app.main import create_app
from app.settings import read_settings
from tests.conftest import SECRETS
from tests.description.served import serve

HERE = Path(__file__).parent
LINTERS = HERE / "node_modules/.bin"
CLIENT = HERE.parents[1] / "clients/typescript"
TOOLS = CLIENT / "node_modules/.bin"
NODE_IS_NEW = """
const [major, minor] = process.versions.node.split(".").map(Number);
if (major < 20 || (major === 20 && minor < 3)) throw new Error(`${process.version}: Node 20.3 is needed`);
"""
PYTHON = HERE.parents[1] / ".cache/description/bin"
TSC = (
    TOOLS / "tsc", "--strict", "--target", "es2022", "--module", "nodenext", "--skipLibCheck",
    "--types", "node", "--typeRoots", CLIENT / "node_modules/@types",
)  # fmt: skip


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


class Failed(Exception):
    """A step has failed; its output was printed."""


async def run(name: str, *command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    """Run one step and return what it prints, which is shown if it fails.

    Raises Failed.
    """
    started = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        cwd=cwd,
        env={**os.environ, "REDOCLY_TELEMETRY": "off", "NO_COLOR": "1", **(env or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    output = printed.decode(errors="replace")
    say(f"{name}: {'failed' if process.returncode else 'ok'}, {time.monotonic() - started:.0f} s")
    if process.returncode:
        say(output)
        raise Failed(name)
    return output


async def together(*steps: Awaitable[None]) -> None:
    """Run steps at the same time, each to its end.

    Raises Failed if any has failed.
    """
    results = await asyncio.gather(*steps, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result


def node_project(folder: Path, smoke: str) -> Path:
    """Make a folder in which the compiler and node find a smoke test and the types of node."""
    (folder / "generated").mkdir(parents=True)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / smoke).write_text((HERE / "smoke" / smoke).read_text())
    return folder


async def lint_spectral(description: Path) -> None:
    await run(
        "spectral", LINTERS / "spectral", "lint", description, "--ruleset", HERE / "spectral.yaml",
        "--fail-severity", "hint", cwd=HERE,
    )  # fmt: skip


async def lint_redocly(description: Path) -> None:
    """Warnings count, although redocly succeeds with them: its report names them."""
    output = await run(
        "redocly", LINTERS / "redocly", "lint", description, "--config", HERE / "redocly.yaml",
        "--format", "json", "--max-problems", "50", cwd=HERE,
    )  # fmt: skip
    report = json.loads(output[output.index("{") : output.rindex("}") + 1])
    for problem in report["problems"]:
        say(problem["ruleId"], problem["location"][0].get("pointer"), problem["message"])
    if any(report["totals"].values()):
        raise Failed("redocly")


async def try_types(description: Path, folder: Path, service: dict[str, str]) -> None:
    node_project(folder, "types.ts")
    types = folder / "generated/types.ts"
    await run("openapi-typescript", TOOLS / "openapi-typescript", description, "-o", types, cwd=folder)
    await run("openapi-typescript: compile", *TSC, "types.ts", cwd=folder)
    await run("openapi-typescript: use", "node", "types.js", cwd=folder, env=service)


async def try_python(description: Path, folder: Path, service: dict[str, str]) -> None:
    config = HERE / "openapi-python-client.yaml"
    await run(
        "openapi-python-client", PYTHON / "openapi-python-client", "generate", "--path", description,
        "--output-path", folder, "--config", config, "--fail-on-warning", cwd=folder.parent,
    )  # fmt: skip
    await run(
        "openapi-python-client: compile", PYTHON / "python", "-m", "compileall", "-q", folder, cwd=folder
    )
    env = {**service, "PYTHONPATH": str(folder)}
    smoke = HERE / "smoke/python_client.py"
    await run("openapi-python-client: use", PYTHON / "python", "-P", smoke, cwd=folder, env=env)


async def try_vcon(service: dict[str, str]) -> None:
    """Read a call with the package of the vCon's authors, which needs pytest and more to run."""
    smoke = HERE / "smoke/vcon_reader.py"
    await run("vcon: use", PYTHON / "python", "-P", "-W", "ignore", smoke, cwd=HERE, env=service)


async def try_fetch(description: Path, folder: Path, service: dict[str, str]) -> None:
    node_project(folder, "fetch.ts")
    jar = next(PYTHON.parent.glob("lib/python*/site-packages/openapi_generator_cli/openapi-generator.jar"))
    await run(
        "openapi-generator", "java", "-jar", jar, "generate", "-i", description, "-g", "typescript-fetch",
        "-o", folder / "generated/fetch", "--additional-properties", "importFileExtension=.js", cwd=folder,
    )  # fmt: skip
    await run("openapi-generator: compile", *TSC, "fetch.ts", cwd=folder)
    await run("openapi-generator: use", "node", "fetch.js", cwd=folder, env=service)


async def try_client(description: Path, service: dict[str, str]) -> None:
    """Build the client in TypeScript and run its tests, some of them against the service."""
    await run("node", "node", "-e", NODE_IS_NEW, cwd=CLIENT)
    types = CLIENT / "src/schema.ts"
    await run("types", TOOLS / "openapi-typescript", description, "-o", types, cwd=CLIENT)
    await run("build", TOOLS / "tsc", "-p", "tsconfig.json", cwd=CLIENT)
    await run("types of requests", *TSC, "--noEmit", "test/types.ts", cwd=CLIENT)
    tests = sorted(path.relative_to(CLIENT) for path in CLIENT.glob("test/*.test.mjs"))
    output = await run("tests", "node", "--test", "--test-reporter", "spec", *tests, cwd=CLIENT, env=service)
    say("\n".join(line for line in output.splitlines() if line.startswith("\N{INFORMATION SOURCE} tests")))


async def main(arguments: Sequence[str]) -> None:
    # The service logs each request.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        description = folder / "openapi.json"
        app = create_app(read_settings(**SECRETS, database_url="sqlite:///unused.db"))
        description.write_text(json.dumps(app.openapi()))
        async with serve(folder) as service:
            if arguments == ["generator"]:
                await try_fetch(description, folder / "fetch", service)
            elif arguments == ["clients"]:
                await try_client(description, service)
            else:
                await together(
                    lint_spectral(description),
                    lint_redocly(description),
                    try_types(description, folder / "types", service),
                    try_python(description, folder / "python", service),
                    try_vcon(service),
                )


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1:]))
    except Failed as failed:
        sys.exit(f"{failed} failed")
