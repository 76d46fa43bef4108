"""What the fuzz of bundles does, for `test_fuzz.py` and for as long as one likes."""

import json
import random
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from runtime_py.archive import pack, unpack
from runtime_py.bundle import MANIFEST, MANIFEST_HASH, _hash_line, check_files, open_bundle
from runtime_py.errors import SdkError
from runtime_py.golden import GOLDEN, load_golden
from runtime_py.session import load
from tests.runtime_py.colours import make_bundle

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
    st.sampled_from([10**10, -1, 0, 2**63, 1e308, "", "..", "../x", "/etc/passwd", "float32", "crop", "é\0", "9.9"]),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)


class Enough(Exception):
    """The time is up."""


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where every value of a manifest is."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, inner in items for place in places(inner, (*path, key)))]


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """The same with another value there."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(value[path[0]], path[1:], new)
    return copy


def run(work: Callable[[Any], None], cases: st.SearchStrategy[Any], examples: int, seconds: float) -> int:
    """How many examples there were until the time was up, or all were through."""
    count, end = 0, time.monotonic() + seconds if seconds else float("inf")

    def check(case: Any) -> None:
        nonlocal count
        if time.monotonic() > end:
            raise Enough
        count += 1
        with suppress(SdkError):
            work(case)

    how = settings(
        max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck),
        phases=[Phase.generate] if seconds else list(Phase), report_multiple_bugs=False,
    )  # fmt: skip
    with suppress(Enough):
        how(given(cases)(check))()
    return count


def fuzz_manifest(folder: Path, examples: int, seconds: float = 0.0) -> int:
    """One to three values of a right manifest replaced, its hash made anew: nothing but an SdkError may come of it."""
    bundle = make_bundle(folder / "x.bundle")
    right = json.loads((bundle / MANIFEST).read_text())
    everywhere = places(right)

    def work(edits: list[tuple[int, Any]]) -> None:
        value = right
        for place, new in edits:
            path = everywhere[place % len(everywhere)]
            try:
                value = changed(value, path, new)
            except (KeyError, IndexError, TypeError):
                continue  # an earlier edit took it away
        text = json.dumps(value).encode("utf-8", errors="surrogatepass")
        (bundle / MANIFEST).write_bytes(text)

        (bundle / MANIFEST_HASH).write_bytes(_hash_line(text))
        check_files(open_bundle(bundle), complete=True)

    cases = st.lists(st.tuples(st.integers(0, 10_000), VALUES), min_size=1, max_size=3)
    return run(work, cases, examples, seconds)


ODD = [0, 1, -1, 16384, 10**9, 2**40, 10**18, 1e308, True, None, "", "O", "f4,f4", "uint8", "int8", "float64", "raw",
       "detect", "decode_video", [], [0], [1, 3, 8, 12], [-1, 3, 8, 12], [10**6, 10**6]]  # fmt: skip
"""What shapes, types and tasks are mistaken for."""


def fuzz_load(folder: Path, examples: int, seconds: float = 0.0) -> int:
    """A right manifest's tensors, task and numbers replaced; then loaded, its golden inputs read, a photo answered."""
    bundle = make_bundle(folder / "z.bundle")
    right = json.loads((bundle / MANIFEST).read_text())
    plain = right | {"task": "raw", "preprocessing": None, "postprocessing": None}
    parts = ("inputs", "outputs", "preprocessing", "postprocessing", "labels", "artifacts", "task")
    everywhere = [path for path in places(right) if path and path[0] in parts]
    photo = np.zeros((20, 30, 3), np.uint8)

    def work(seed: int) -> None:
        rng = random.Random(seed)
        value = rng.choice([right, plain])
        for _ in range(rng.choice([1, 1, 2, 3])):
            with suppress(KeyError, IndexError, TypeError):
                value = changed(value, rng.choice(everywhere), rng.choice(ODD))
        text = json.dumps(value).encode()
        (bundle / MANIFEST).write_bytes(text)
        (bundle / MANIFEST_HASH).write_bytes(_hash_line(text))
        with load(bundle, "onnx", 1) as session:
            load_golden(bundle / GOLDEN, session.spec)
            session(photo)

    return run(work, st.integers(0, 2**32 - 1), examples, seconds)


def fuzz_zip(folder: Path, examples: int, seconds: float = 0.0) -> int:
    """A right zip file with bytes changed, cut out and put in, above all in its tables."""
    source = pack(make_bundle(folder / "y.bundle"))
    whole = source.read_bytes()
    place, out = folder / "fuzzed.bundle.zip", folder / "out.bundle"
    tables = [at for at in range(len(whole)) if whole[at : at + 2] == b"PK"]

    def work(case: tuple[int, int]) -> None:
        seed, edits = case
        rng, content = random.Random(seed), bytearray(whole)
        for _ in range(edits):
            near = rng.choice(tables) + rng.randrange(46) if rng.random() < 0.7 else rng.randrange(len(whole))
            at = min(near, len(content) - 1)
            kind = rng.randrange(4)
            if kind == 0:
                content[at] = rng.randrange(256)
            elif kind == 1:
                content[at : at + 4] = rng.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xfe\xff\xff\x7f"])
            elif kind == 2:
                del content[at : at + rng.randrange(1, 40)]
            else:
                content[at:at] = rng.randbytes(rng.randrange(1, 40))
        place.write_bytes(content)
        try:
            check_files(open_bundle(unpack(place, out)), complete=True)
        finally:
            shutil.rmtree(out, ignore_errors=True)
            assert not list(folder.glob(".out.bundle*"))

    return run(work, st.tuples(st.integers(0, 2**32 - 1), st.integers(1, 6)), examples, seconds)
