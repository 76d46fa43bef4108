"""Results come back as they went in, and files that are none of ours stay as they are."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sdk.bench.database import APPLICATION, VERSION, BadDatabase, Database, NewerDatabase, UnknownRun
from tests.sdk.bench.rows import result_of, row_of, run_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a folder" / "r.sqlite"


def test_a_result_comes_back_with_every_time(path: Path) -> None:
    parts = (tuple(np.random.default_rng(0).random(50).tolist()), (1.0, 2.5))
    given = result_of(row=row_of(samples_ms=parts))
    with Database(path, create=True) as database:
        run = database.begin(run_of())
        database.put(run, given)
    with Database(path) as database:
        (small,) = database.results(database.run("last"))
        (whole,) = database.results(database.run("last"), samples=True)
    assert small.row is not None
    assert given.row is not None
    assert small.row.samples_ms == ()
    assert small.row.infer == given.row.infer
    assert whole.row is not None
    for found, wanted in zip(whole.row.samples_ms, parts, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=2**-24)  # half of a float32's last bit
    assert (small.made, small.cell) == (given.made, given.cell)


def test_the_columns_are_those_of_the_row(path: Path) -> None:
    """What another program reads with SQL alone."""
    with Database(path, create=True) as database:
        database.put(database.begin(run_of()), result_of([2.0] * 8))
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT network, target, p50_ms, file_bytes, outcome, cpu FROM cells").fetchall() == [
            ("colours", "onnx", 2.0, 1_000_000, "measured", "a processor")
        ]
        assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
        blob = connection.execute("SELECT ms FROM samples WHERE repeat = 0").fetchone()[0]
    assert np.frombuffer(blob, "<f4").shape == (11,)


def test_a_second_result_takes_the_place_of_the_first(path: Path) -> None:
    with Database(path, create=True) as database:
        run = database.begin(run_of())
        database.put(run, result_of(outcome="failed", row=None, why="no"))
        database.put(run, result_of())
        database.put(run, result_of([3.0]))
        (found,) = database.results(run, samples=True)
        assert found.row is not None
        assert len(found.row.samples_ms) == 1
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM samples").fetchone() == (1,), "the old times went with it"


def test_only_some(path: Path) -> None:
    with Database(path, create=True) as database:
        run = database.begin(run_of())
        for target in ("onnx", "tflite"):
            for device in ("local", "pi"):
                database.put(run, result_of(target=target, device=device))
        assert len(database.results(run, {"target": [], "network": ["colours"]})) == 4
        assert [one.cell[2:] for one in database.results(run, {"target": ["onnx"], "device": ["pi"]})] == [
            ("onnx", 1, "pi")
        ]
        assert database.results(run, {"target": ["' OR 1 --"]}) == []


def test_runs_by_number_place_and_name(path: Path) -> None:
    with Database(path, create=True) as database:
        ids = [database.begin(run_of(name=name)).id for name in ("a", "b", "a")]
        assert [database.run(word).id for word in ("1", "last", "previous", "a", "b")] == [1, 3, 2, ids[2], ids[1]]
        with pytest.raises(UnknownRun) as caught:
            database.run("c")
        assert "1 (a), 2 (b), 3 (a)" in caught.value.expected


def test_the_latest_run_is_of_the_same_file_protocol_commit_and_sdk(path: Path) -> None:
    with Database(path, create=True) as database:
        wanted = database.begin(run_of())
        for other in ({"file": "/c.toml"}, {"protocol": "[]"}, {"commit": "d"}, {"sdk": "2"}, {"name": "c"}):
            database.begin(run_of(**other))
        assert database.latest(run_of()) == wanted
        assert database.latest(run_of(commit="e")) is None
        database.finish(wanted, finished=True)
        assert database.run("1").finished
        database.finish(wanted, finished=False)
        assert not database.run("1").finished


def test_a_newer_one_is_refused_and_left_as_it_is(path: Path) -> None:
    Database(path, create=True).__exit__(None, None, None)
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(NewerDatabase) as caught:
        Database(path, create=True)
    assert "upgrade" in caught.value.hint
    assert path.read_bytes() == before


def test_files_that_are_no_databases_of_ours(tmp_path: Path) -> None:
    foreign, text, absent = tmp_path / "foreign.sqlite", tmp_path / "text.sqlite", tmp_path / "absent.sqlite"
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE cells (id INTEGER)")
    connection.close()
    text.write_text("no database\n" * 100)
    before = foreign.read_bytes(), text.read_bytes()
    for path, said in ((foreign, "another program"), (text, "no database"), (absent, "is not there")):
        with pytest.raises(BadDatabase, match=said):
            Database(path, create=path is not absent)
    assert (foreign.read_bytes(), text.read_bytes()) == before
    assert not absent.exists()


def test_a_row_that_somebody_changed(path: Path) -> None:
    with Database(path, create=True) as database:
        run = database.begin(run_of())
        database.put(run, result_of())
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE cells SET result = '{\"network\": 1}'")
    connection.close()
    with Database(path) as database, pytest.raises(BadDatabase, match="damaged"):
        database.results(run)


def test_a_process_that_is_killed_while_it_writes_leaves_whole_rows(path: Path, repository: Path) -> None:
    """SIGKILL between the row and its times, in the middle of the transaction."""
    with Database(path, create=True) as database:
        database.put(database.begin(run_of()), result_of([1.0]))
    script = """
import os, signal, sys
from pathlib import Path
from sdk.bench import database
from tests.sdk.bench.rows import result_of
database._packed = lambda part: os.kill(os.getpid(), signal.SIGKILL)
with database.Database(Path(sys.argv[1])) as opened:
    opened.put(opened.run("last"), result_of([2.0]))
"""
    done = subprocess.run([sys.executable, "-c", script, str(path)], cwd=repository, capture_output=True)
    assert done.returncode == -9, done.stderr
    with Database(path) as database:
        (found,) = database.results(database.run("last"), samples=True)
    assert found.row is not None
    assert found.row.repeats_p50_ms == (1.0,)
    assert len(found.row.samples_ms) == 1


def test_two_processes_may_write(path: Path) -> None:
    with Database(path, create=True) as one, Database(path, create=True) as other:
        first, second = one.begin(run_of(name="a")), other.begin(run_of(name="b"))
        one.put(first, result_of())
        other.put(second, result_of())
        assert [len(one.results(run)) for run in one.runs()] == [1, 1]


def test_its_mark_is_four_letters() -> None:
    assert APPLICATION.to_bytes(4, "big") == b"esdb"
