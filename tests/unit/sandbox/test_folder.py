from pathlib import Path

import pytest

from app.sandbox.folder import SandboxFolder
from app.sandbox.service import SandboxFailed


def test_the_secrets_stay_the_same_and_are_for_their_owner_alone(tmp_path: Path) -> None:
    made = SandboxFolder(tmp_path / "a" / "sandbox").prepare()

    assert SandboxFolder(tmp_path / "a" / "sandbox").prepare() == made
    assert SandboxFolder(tmp_path / "other").prepare() != made
    assert (tmp_path / "a" / "sandbox").stat().st_mode & 0o077 == 0
    assert (tmp_path / "a" / "sandbox" / "secrets.json").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("content", ["", "[]", '{"api_key": "ak_x"}'])
def test_a_file_that_is_not_ours_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "secrets.json").write_text(content)

    with pytest.raises(SandboxFailed, match="--folder"):
        SandboxFolder(tmp_path).prepare()

    assert (tmp_path / "secrets.json").read_text() == content


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(SandboxFailed, match="cannot be used"):
        SandboxFolder(tmp_path / "file" / "sandbox").prepare()
