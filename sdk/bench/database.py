"""The results, in one SQLite file: docs/benchmarking.md has its tables."""

import sqlite3
import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from runtime_py.errors import SdkError
from runtime_py.folders import state_folder
from sdk.bench.results import Result

VERSION = 1
"""Of the tables, in the file's `user_version`."""
APPLICATION = 0x65736462
"""`esdb`, in the file's `application_id`: whose it is."""
PATIENCE_S = 30.0
TABLES = """
CREATE TABLE runs (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, file TEXT NOT NULL, protocol TEXT NOT NULL, git_commit TEXT NOT NULL,
  sdk TEXT NOT NULL, host TEXT NOT NULL, created TEXT NOT NULL, finished TEXT
);
CREATE TABLE cells (
  id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
  network TEXT NOT NULL, precision TEXT NOT NULL, target TEXT NOT NULL, threads INTEGER NOT NULL, device TEXT NOT NULL,
  outcome TEXT NOT NULL, cpu TEXT, kind TEXT, p50_ms REAL, p90_ms REAL, p99_ms REAL, peak_rss_mb REAL,
  file_bytes INTEGER, energy_mj REAL, created TEXT NOT NULL, result TEXT NOT NULL,
  UNIQUE (run, network, precision, target, threads, device)
);
CREATE TABLE samples (
  cell INTEGER NOT NULL REFERENCES cells ON DELETE CASCADE, repeat INTEGER NOT NULL, ms BLOB NOT NULL,
  PRIMARY KEY (cell, repeat)
) WITHOUT ROWID;
"""
FILTERS = ("network", "precision", "target", "device")


class BadDatabase(SdkError):
    """A file that is no database of results, or one that is damaged."""

    id = "bench-database"


class NewerDatabase(BadDatabase):
    """A database that a later version of this project wrote."""

    id = "bench-database-newer"


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run: of which file, how it was measured (the protocol in JSON), by what, on which workstation.

    `commit` is that of the file's folder. `finished` is empty until every cell has an outcome.
    """

    id: int = 0
    name: str
    file: str
    protocol: str
    commit: str
    sdk: str
    host: dict[str, str] = {}
    created: str = ""
    finished: str = ""


def default_database() -> Path:
    """The one in the user's own state, for whoever names none."""
    return state_folder() / "bench" / "results.sqlite"


class Database:
    """An open database. A context manager; every method raises BadDatabase where the file is damaged."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        """Opens, or with `create` makes, the file. Raises BadDatabase or NewerDatabase."""
        self.path = path
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
        elif not path.is_file():
            raise BadDatabase(f"{path} is not there", expected="a database of results",
                              hint="sdk bench FILE makes one; --db names another")  # fmt: skip
        with self._clear():
            self._open = sqlite3.connect(path, timeout=PATIENCE_S, isolation_level=None)
        try:
            with self._clear():
                self._open.execute("PRAGMA foreign_keys = ON")
                self._prepare()
        except BaseException:
            self._open.close()
            raise

    def __enter__(self) -> "Database":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._open.close()

    def begin(self, run: Run) -> Run:
        """Write a new run down; returned with its id and date."""
        run = msgspec.structs.replace(run, created=_now())
        with self._transaction():
            made = self._open.execute(
                "INSERT INTO runs (name, file, protocol, git_commit, sdk, host, created) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (run.name, run.file, run.protocol, run.commit, run.sdk, _json(run.host), run.created),
            )
        return msgspec.structs.replace(run, id=made.lastrowid)

    def latest(self, like: Run) -> Run | None:
        """The last run of the same file, protocol, commit and SDK; None where there is none."""
        found = self._runs(
            "WHERE name = ? AND file = ? AND protocol = ? AND git_commit = ? AND sdk = ? ORDER BY id DESC LIMIT 1",
            (like.name, like.file, like.protocol, like.commit, like.sdk),
        )
        return found[0] if found else None

    def finish(self, run: Run, finished: bool) -> None:
        """Say that every cell has an outcome, or that some are open again."""
        with self._transaction():
            self._open.execute("UPDATE runs SET finished = ? WHERE id = ?", (_now() if finished else None, run.id))

    def runs(self) -> list[Run]:
        """Every run, the oldest first."""
        return self._runs("ORDER BY id", ())

    def run(self, named: str) -> Run:
        """By number, `last`, `previous` (the one before), or a name: its last run. Raises UnknownRun."""
        runs = self.runs()
        by_number = {str(run.id): run for run in runs}
        by_name = {run.name: run for run in runs}
        by_place = {word: runs[-at] for at, word in ((1, "last"), (2, "previous")) if len(runs) >= at}
        found = by_number.get(named) or by_place.get(named) or by_name.get(named)
        if found is None:
            known = ", ".join(f"{run.id} ({run.name})" for run in runs[-10:]) or "none"
            raise UnknownRun(
                f"no run {named!r} in {self.path}", expected=f"last, previous, or one of {known}",
                hint="sdk results --runs",
            )  # fmt: skip
        return found

    def put(self, run: Run, result: Result) -> None:
        """Write a result down, in place of the cell's earlier one, in one transaction."""
        row = result.row
        parts, timing = (row.samples_ms, row.infer) if row else ((), None)
        small = msgspec.structs.replace(result, row=msgspec.structs.replace(row, samples_ms=())) if row else result
        with self._transaction():
            self._open.execute(
                "DELETE FROM cells WHERE (run, network, precision, target, threads, device) = (?, ?, ?, ?, ?, ?)",
                (run.id, *result.cell),
            )
            made = self._open.execute(
                "INSERT INTO cells (run, network, precision, target, threads, device, outcome, cpu, kind, p50_ms, "
                "p90_ms, p99_ms, peak_rss_mb, file_bytes, energy_mj, created, result) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    run.id, *result.cell, result.outcome, row and row.device, row and row.kind,
                    timing and timing.p50_ms, timing and timing.p90_ms, timing and timing.p99_ms,
                    row and row.peak_rss_mb, result.made and result.made.bytes, row and row.energy_mj,
                    result.created or _now(), _json(small),
                ),
            )  # fmt: skip
            self._open.executemany(
                "INSERT INTO samples VALUES (?, ?, ?)",
                [(made.lastrowid, at, _packed(part)) for at, part in enumerate(parts)],
            )

    def results(
        self, run: Run, only: Mapping[str, Sequence[str]] | None = None, *, samples: bool = False
    ) -> list[Result]:
        """A run's results in the order of their names; `only` those whose columns (FILTERS) hold one of the values.

        With `samples` every row has its `samples_ms`.
        """
        chosen = {name: list(values) for name, values in (only or {}).items() if values}
        assert set(chosen) <= set(FILTERS)  # they become a part of the query
        where = "".join(f" AND {name} IN ({', '.join('?' * len(values))})" for name, values in chosen.items())
        with self._clear():
            rows = self._open.execute(
                f"SELECT id, result FROM cells WHERE run = ?{where} "
                "ORDER BY device, network, threads, precision, target",
                (run.id, *(value for values in chosen.values() for value in values)),
            ).fetchall()
            found = [(cell, msgspec.json.decode(text, type=Result)) for cell, text in rows]
            return [self._sampled(cell, one) if samples else one for cell, one in found]

    def _sampled(self, cell: int, result: Result) -> Result:
        if result.row is None:
            return result
        rows = self._open.execute("SELECT ms FROM samples WHERE cell = ? ORDER BY repeat", (cell,)).fetchall()
        parts = tuple(_unpacked(blob) for (blob,) in rows)
        return msgspec.structs.replace(result, row=msgspec.structs.replace(result.row, samples_ms=parts))

    def _runs(self, rest: str, values: Sequence[Any]) -> list[Run]:
        with self._clear():
            rows = self._open.execute(
                f"SELECT id, name, file, protocol, git_commit, sdk, host, created, finished FROM runs {rest}", values
            ).fetchall()
            return [
                Run(id=row[0], name=row[1], file=row[2], protocol=row[3], commit=row[4], sdk=row[5],
                    host=msgspec.json.decode(row[6], type=dict[str, str]), created=row[7], finished=row[8] or "")
                for row in rows
            ]  # fmt: skip

    def _prepare(self) -> None:
        """The tables, where the file is new. Raises NewerDatabase, or BadDatabase where it is another program's."""
        if self._is_ours():
            return
        with self._transaction():
            if self._is_ours():  # another process has made them meanwhile
                return
            for statement in TABLES.split(";"):
                self._open.execute(statement)
            self._open.execute(f"PRAGMA application_id = {APPLICATION}")
            self._open.execute(f"PRAGMA user_version = {VERSION}")

    def _is_ours(self) -> bool:
        """False for an empty file."""
        (application,), (version,), (tables,) = (
            self._open.execute(query).fetchone()
            for query in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
        )
        if application == 0 and version == 0 and tables == 0:
            return False
        if application != APPLICATION:
            raise BadDatabase(f"{self.path} is another program's database", hint="--db names another file")
        if version > VERSION:
            raise NewerDatabase(
                f"{self.path} has tables of version {version}", expected=f"version {VERSION} or older",
                hint="a later edge-sdk wrote it: upgrade, or --db with another file",
            )  # fmt: skip
        return True

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing, whatever ends the process; other processes wait meanwhile."""
        with self._clear():
            self._open.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._open.execute("ROLLBACK")
                raise
            self._open.execute("COMMIT")

    @contextmanager
    def _clear(self) -> Iterator[None]:
        """SQLite's errors, and JSON that is none of ours, as BadDatabase."""
        try:
            yield
        except sqlite3.OperationalError as error:  # locked, read-only, a full disk, a table that is not there
            raise BadDatabase(f"{self.path}: {error}", hint="look at the file, its folder and the disk") from error
        except (sqlite3.DatabaseError, msgspec.MsgspecError, ValueError, TypeError) as error:
            raise BadDatabase(f"{self.path} is damaged, or no database: {error}", hint="--db names another") from error


class UnknownRun(SdkError):
    """A run that the database does not have."""

    id = "unknown-run"


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _packed(part: Sequence[float]) -> bytes:
    """Little-endian float32: a ten-millionth of a time is far below a clock's tick."""
    return _swapped(array("f", part)).tobytes()


def _unpacked(blob: bytes) -> tuple[float, ...]:
    values = array("f")
    values.frombytes(blob)
    return tuple(_swapped(values))


def _swapped(values: "array[float]") -> "array[float]":
    if sys.byteorder == "big":
        values.byteswap()
    return values


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
