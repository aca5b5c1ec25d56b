"""The commands of docs/backup.md, run as an operator runs them, with the binaries of the server."""

import shutil
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests.cluster import Cluster

DUMP = ("pg_dump", "--format=custom")
RESTORE = ("pg_restore", "--exit-on-error", "--single-transaction", "--no-owner")
BASE = ("pg_basebackup", "--pgdata=/backup/base", "--wal-method=stream", "--checkpoint=fast")
RECOVERY = ("restore_command = 'cp ", "recovery_target_time = '", "recovery_target_action = 'promote'")
"""As docs/backup.md has them; the drills add where the server is."""


class PostgresBackups:
    """Dumps and base backups of a cluster. Skips the test where the programs are missing."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def dump(self, name: str, file: Path) -> None:
        """`pg_dump --format=custom`."""
        self._run(*DUMP, f"--file={file}", self._cluster.dsn(name))

    def restore(self, file: Path, name: str) -> None:
        """`createdb` and `pg_restore`, into a database that does not exist."""
        place = ("--host=127.0.0.1", f"--port={self._cluster.port}", f"--username={self._cluster.superuser}")
        self._run("createdb", *place, name)
        self._run(*RESTORE, f"--dbname={self._cluster.dsn(name)}", str(file))

    def base(self, folder: Path) -> None:
        """`pg_basebackup` with the WAL that it needs."""
        program, _, *options = BASE
        where = f"--dbname={self._cluster.dsn()}"
        self._run(program, f"--pgdata={folder}", *options, "--no-sync", where)

    def _run(self, program: str, *options: str) -> None:
        path = self._cluster.binaries / program
        if not path.exists():
            pytest.skip(f"the PostgreSQL of this machine has no {program}")
        done = subprocess.run(
            [path, *options], user=self._cluster.user, cwd="/", capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def recover_until(cluster: Cluster, base: Path, archive: Path, moment: str) -> None:
    """Replace the cluster's data by the base backup, replayed from the archived WAL until `moment`."""
    cluster.halt(signal.SIGINT)
    shutil.rmtree(cluster.data)
    shutil.move(base, cluster.data)
    command, target, action = RECOVERY
    settings = f"{command}{archive}/%f %p'\n{target}{moment}'\n{action}\n"
    with (cluster.data / "postgresql.auto.conf").open("a") as file:
        file.write(settings)
    signal_file = cluster.data / "recovery.signal"
    signal_file.touch()
    if cluster.user:
        shutil.chown(signal_file, cluster.user)
    cluster.start()


def back_up_sqlite(database: Path, copy: Path) -> None:
    """`sqlite3 aftercall.db ".backup copy.db"`: the same function of the library, beside writers."""
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)


def restore_sqlite(copy: Path, database: Path) -> None:
    """Put the copy in the place of the file, without the write-ahead log of what was lost."""
    for rest in database.parent.glob(f"{database.name}*"):
        rest.unlink()
    shutil.copyfile(copy, database)
    database.chmod(0o600)
