import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.sandbox.folder import SandboxFolder
from app.sandbox.service import SandboxFailed

HOLD = """
import sys, time
from pathlib import Path
from app.sandbox.folder import SandboxFolder
with SandboxFolder(Path(sys.argv[1])).held():
    print("held", flush=True)
    time.sleep(600)
"""


def secrets_of(path: Path) -> dict[str, str]:
    with SandboxFolder(path).held() as kept:
        return kept


def test_the_secrets_stay_the_same_and_are_for_their_owner_alone(tmp_path: Path) -> None:
    made = secrets_of(tmp_path / "a" / "sandbox")

    assert secrets_of(tmp_path / "a" / "sandbox") == made
    assert secrets_of(tmp_path / "other") != made
    assert (tmp_path / "a" / "sandbox").stat().st_mode & 0o077 == 0
    assert (tmp_path / "a" / "sandbox" / "secrets.json").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("content", ["", "[]", '{"api_key": "ak_x"}'])
def test_a_file_that_is_not_ours_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "secrets.json").write_text(content)

    with pytest.raises(SandboxFailed, match="--folder"):
        secrets_of(tmp_path)

    assert (tmp_path / "secrets.json").read_text() == content


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(SandboxFailed, match="cannot be used"):
        secrets_of(tmp_path / "file" / "sandbox")


def test_a_folder_in_use_is_refused_until_its_user_has_ended(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as user:
        try:
            assert user.stdout is not None
            assert user.stdout.readline() == "held\n"
            with pytest.raises(SandboxFailed, match=f"process {user.pid}, uses the folder {tmp_path}"):
                secrets_of(tmp_path)
        finally:
            os.kill(user.pid, signal.SIGKILL)
    assert secrets_of(tmp_path)
