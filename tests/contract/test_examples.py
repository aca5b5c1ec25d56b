"""The `curl` examples of all pages work: pasted into a shell, against service and simulator."""

import asyncio
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import compile_path

from app.accounts.directory.worker import DirectoryReader
from tests.conftest import SECRETS, answer_to
from tests.described import describe
from tests.factories_calls import ACCOUNT, ANA
from tests.fakes.context import accounts_context
from tests.fakes.reader_stage import Stage, simulated, staged
from tests.integration.recordings_api.test_voicemails import know as know_voicemail
from tests.integration.recordings_api.test_voicemails import left

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = re.compile(r"^( *)```(?:sh|console)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
IN_A_SENTENCE = re.compile(r"`(curl [^`\n]*\$API[^`\n]*)`")
STATED = re.compile(r"# ([1-5]\d\d)\b")
ANSWERED = re.compile(r"^(GET|HEAD|POST|PUT|PATCH|DELETE) (\d{3}) https?://[^/]+(/[^?\s]*)", re.MULTILINE)
# Says of each request, on a line of its own, what it was and how it was answered.
TELLING_CURL = (
    "curl() { command curl --no-progress-meter --max-time 20 "
    "--write-out '%{stderr}%{method} %{http_code} %{url_effective}\\n' \"$@\"; }"
)

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("bash", "curl", "jq"))),
    reason="the examples take bash, curl and jq: install those packages",
)


@dataclass(frozen=True)
class Answered:
    """What an example's request was answered."""

    example: str
    method: str
    status: int
    path: str

    @property
    def is_as_stated(self) -> bool:
        stated = STATED.search(self.example)
        return self.status == int(stated[1]) if stated else self.status // 100 == 2


def examples(page: Path) -> list[str]:
    """The commands of a page with a `curl` in them, and what they need set, each as it can be pasted."""
    text = page.read_text()
    found = [one for indent, block in BLOCKS.findall(text) for one in commands(block, indent)]
    pasted = [
        one
        for one in found
        if one.startswith(("API=", "export AFTERCALL_API=")) or re.search(r"\bcurl ", one)
    ]
    return pasted + IN_A_SENTENCE.findall(text)


def commands(block: str, indent: str) -> Iterator[str]:
    """The commands of a block, comments left out; one goes on after a backslash and within quotes."""
    begun: list[str] = []
    for line in block.splitlines():
        bare = line.removeprefix(indent).removeprefix("$ ")
        if begun or not bare.startswith("#"):
            begun.append(bare)
        whole = "\n".join(begun)
        if not whole.endswith("\\") and whole.count("'") % 2 == 0:
            yield whole
            begun = []


def fill_in(example: str, world: Mapping[str, str]) -> str:
    for name, value in world.items():
        example = example.replace(name, value)
    return example


async def paste(page: Path, world: Mapping[str, str], folder: Path) -> list[Answered]:
    """Run the examples of a page one after the other in one shell, as a reader would."""
    marked = examples(page)
    script = [TELLING_CURL] + [
        f"echo 'example {number}' >&2\n{fill_in(one, world)}" for number, one in enumerate(marked)
    ]
    environment = {
        "PATH": os.environ["PATH"],
        "API": world["http://127.0.0.1:8000"],
        "KEY": world["ak_demo_…"],
        "CALL": world["call_…"],
    }
    shell = await asyncio.create_subprocess_exec(
        "bash", "-c", "\n".join(script), cwd=folder, env=environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, told = await shell.communicate()
    parts = re.split(r"^example (\d+)\n", told.decode(), flags=re.MULTILINE)
    numbered = zip(map(int, parts[1::2]), parts[2::2], strict=True)
    answers = [(marked[number], ANSWERED.findall(part)) for number, part in numbered]
    silent = [example for example, requests in answers if "curl " in example and not requests]
    assert silent == [], told.decode()
    return [
        Answered(example, method, int(status), path)
        for example, requests in answers
        for method, status, path in requests
    ]


@pytest.fixture
async def stage(make_settings: Any, sqlite_url: str) -> AsyncIterator[Stage]:
    public_url = "https://calls.northwind-tea.example"
    async with staged(make_settings, sqlite_url, simulated(), public_url=public_url) as opened:
        yield opened


@pytest.fixture
async def world(stage: Stage) -> dict[str, str]:
    """What the pages name, and what takes its place here: a recorded call of Ana's that the service knows."""
    # First, and of another extension: pages that take the latest call mean the recorded one.
    voicemail_id = await left(stage, agent="103")
    await know_voicemail(stage, voicemail_id, extension_id="711000103")
    recording_id = await stage.recorded(agent="101")
    call_id = await stage.know(recording_id)
    call = await stage.reader.get(f"/v1/calls/{call_id}")

    async def listed() -> list[Any] | None:
        pages = stage.reader.params.set("perPage", str(len(stage.asked()) + 1))
        answer = await stage.reader.get(f"/v1/extensions/{ANA}/call-log", params=pages)
        return list(answer.json()["records"])

    (record,) = await answer_to(listed)
    process = stage.process
    context = accounts_context(stage.database, process.clock, process.connections)
    await DirectoryReader(context, stage.settings.directory_refresh_seconds).step()
    here = str(stage.reader.base_url).rstrip("/")
    return {
        "http://127.0.0.1:8000": here,
        "http://127.0.0.1:8090": stage.simulator.links.platform,
        "eyJraWQi…": "sim-jwt-second",
        "908070002": ACCOUNT,
        "ak_demo_…": SECRETS["api_key"],
        "ak_sandbox_…": SECRETS["api_key"],
        # The sandbox alone sends to addresses on the same machine.
        "http://127.0.0.1:3000/hook": "https://connector.example/hook",
        "call_…": call_id,
        "1229016182016": call.json()["sessionId"],
        "3019664700": recording_id,
        "1504832006": voicemail_id,
        "QX7f14l8Nt_2aVB": record["id"],
        '"v4-9f8e7d6c5b4a"': call.headers["etag"],
        # "Half a minute later" is soon at this speed, and nobody has to wait for what will not come.
        '"talkSeconds": 60}\'': '"talkSeconds": 60}\'; sleep 0.5',
        "wait=20": "wait=0",
        # No call becomes final here: that is the work of loops which do not run.
        "stage=final&limit=1": "limit=1",
        "curl -sN": "curl -sN --max-time 1",
    }


@pytest.mark.parametrize("page", [page for page in PAGES if examples(page)], ids=lambda page: page.name)
async def test_every_example_is_answered_as_the_page_says(
    page: Path, stage: Stage, world: dict[str, str], tmp_path: Path
) -> None:
    answered = await paste(page, world, tmp_path)
    assert [one for one in answered if not one.is_as_stated] == []


@pytest.mark.parametrize(
    ("page", "tags"), [("call-log.md", {"call log", "recordings"}), ("people.md", {"people"})]
)
async def test_every_route_of_a_page_has_an_example(
    world: dict[str, str], tmp_path: Path, page: str, tags: set[str]
) -> None:
    answered = await paste(ROOT / "docs/api" / page, world, tmp_path)
    lacking = [
        f"{method.upper()} {path}"
        for path, methods in describe()["paths"].items()
        for method, operation in methods.items()
        if not tags.isdisjoint(operation.get("tags", ()))
        if not any(
            one.method == method.upper() and compile_path(path)[0].fullmatch(one.path) for one in answered
        )
    ]
    assert lacking == []


@pytest.mark.parametrize(
    ("language", "command"), [("python", [sys.executable, "-u"]), ("js", ["node", "--input-type=module"])]
)
async def test_the_loops_for_connectors_run_as_they_stand(
    stage: Stage, world: dict[str, str], language: str, command: list[str]
) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip("the loop in JavaScript takes `node`: install it")
    page = (ROOT / "docs/connectors.md").read_text()
    (code,) = re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    call = world["call_…"]
    (
        await stage.reader.put(f"/v1/calls/{call}/sentiments/practice", json={"label": "positive"})
    ).raise_for_status()
    assert re.search(r"""cursor = ["']now["']""", code)
    # From the beginning, and of a kind that the stage has.
    code = re.sub(r"""(?<=cursor = ["'])now(?=["'])""", "0", code).replace("call.final", "sentiment.set")

    loop = await asyncio.create_subprocess_exec(
        *command,
        env={
            "PATH": os.environ["PATH"],
            "AFTERCALL_API": world["http://127.0.0.1:8000"],
            "AFTERCALL_KEY": world["ak_sandbox_…"],
        },
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert loop.stdin is not None
    assert loop.stdout is not None
    try:
        loop.stdin.write(code.encode())
        loop.stdin.close()
        assert await loop.stdout.readline() == f"sentiment.set {call}\n".encode()
        assert loop.returncode is None
    finally:
        if loop.returncode is None:
            loop.kill()
        await loop.wait()
