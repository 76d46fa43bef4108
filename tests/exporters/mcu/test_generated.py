"""The generated C against PyTorch's integers, to the last bit, without a warning and under sanitizers."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporters.mcu.generate import Facts, printable, sources
from exporters.mcu.network import Network
from exporters.mcu.schedule import Schedule, block_ends, least_memory, patched, placed, whole_layers
from exporters.mcu.simulate import simulate
from exporters.mcu.stage import plan_stage
from tests.exporters.mcu.chains import networks
from tests.exporters.mcu.networks import Builder, mcunet

CC = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
pytestmark = pytest.mark.skipif(CC is None, reason="no C compiler here")
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-pedantic"]
SANITIZED = ["-fsanitize=undefined,address", "-fno-sanitize-recover=all", "-O1", "-g"]
PATHS = {"fast": [], "plain": ["-DMCU_PLAIN"]}
EXAMPLES = int(os.environ.get("MCU_FUZZ_NETWORKS", "60"))
"""Random networks in one run; 2,000 take a quarter of an hour."""


@pytest.fixture(scope="module", params=PATHS)
def kernels(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """kernels.o with sanitizers, of the path that this machine takes and of plain C."""
    folder = tmp_path_factory.mktemp(request.param)
    source = Path(__file__).parents[3] / "exporters" / "mcu" / "c"
    for path in source.glob("*.[ch]"):
        shutil.copy(path, folder)
    compiled([*STRICT, *SANITIZED, *PATHS[request.param], "-c", "kernels.c", "-o", "kernels.o"], folder)
    return folder


def compiled(arguments: list[str], folder: Path) -> None:
    done = subprocess.run([str(CC), *arguments], cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[:3000]


def example_of(network: Network, seed: int = 0) -> np.ndarray:
    own = network.input
    return np.random.default_rng(seed).integers(-128, 128, (own.height, own.width, own.channels)).astype(np.int8)


def golden(schedule: Schedule, kernels: Path, *, dynamic: bool = False) -> str:
    """What golden_test prints."""
    image = example_of(schedule.network)
    made = sources(schedule, Facts("net", dynamic), image, simulate(schedule.network, image))
    for name in ("model.c", "model.h", "golden_test.c"):
        (kernels / name).write_text(made[name])
    compiled([*STRICT, *SANITIZED, "-O0", "model.c", "golden_test.c", "kernels.o", "-o", "golden_test"], kernels)
    ran = subprocess.run([str(kernels / "golden_test")], capture_output=True, text=True, timeout=120, check=False)
    return ran.stdout.strip() + ran.stderr[:3000]


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    """A network, and any of the ways to run it."""
    network = draw(networks())
    kind = draw(st.sampled_from(["auto", "recompute", "whole", "patches", "cuts"]))
    if kind == "auto":
        return least_memory(network)
    if kind == "recompute":
        return least_memory(network, draw(st.sampled_from([0.2, 2.0])))
    if kind == "whole":
        return whole_layers(network)
    ends = [end for end in block_ends(network) if all(one.kind != "mean" for one in network.layers[: end + 1])]
    if kind == "patches" and ends:
        blocks = draw(st.integers(1, len(ends)))
        output = network.layers[ends[blocks - 1]].output
        return patched(network, blocks, draw(st.integers(1, min(4, output.height, output.width))))
    cuts = [cut for cut in network.cuts()[:-1] if draw(st.booleans())]
    ends = [*cuts, len(network.layers) - 1]
    return placed(
        network, tuple(plan_stage(network, start + 1, end) for start, end in zip([-1, *cuts], ends, strict=True))
    )


@pytest.mark.slow
@pytest.mark.timeout(3600)  # for the many of MCU_FUZZ_NETWORKS
def test_random_networks_answer_as_pytorchs_integers(kernels: Path) -> None:
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(schedules(), st.booleans())
    def check(schedule: Schedule, dynamic: bool) -> None:
        assert golden(schedule, kernels, dynamic=dynamic) == "OK"

    check()


@pytest.mark.slow
@pytest.mark.parametrize("way", [least_memory, whole_layers, lambda network: patched(network, 4, 3)])
def test_every_schedule_of_mcunet_answers_the_same(way: Callable[[Network], Schedule], kernels: Path) -> None:
    assert golden(way(mcunet("mcunet_in0", 48)), kernels) == "OK"


@pytest.mark.parametrize("tiles", [(7, 1), (1, 7), (10, 10)])
def test_a_patch_that_sees_padding_alone_needs_nothing(tiles: tuple[int, int], kernels: Path) -> None:
    chain = Builder(8)
    chain.conv("halved", 3, stride=2)
    end = chain.conv("padded", 2, pad=3)
    network = Network(tuple(chain.layers))
    assert golden(placed(network, (plan_stage(network, 0, end, tiles),)), kernels) == "OK"


def test_the_answer_is_compared_in_earnest(kernels: Path) -> None:
    schedule = least_memory(mcunet("mcunet_in0", 48))
    image = example_of(schedule.network)
    wrong = simulate(schedule.network, image)
    wrong.flat[3] ^= 1
    for name, text in sources(schedule, Facts("net"), image, wrong).items():
        if name in ("model.c", "model.h", "golden_test.c"):
            (kernels / name).write_text(text)
    compiled([*SANITIZED, "-O0", "model.c", "golden_test.c", "kernels.o", "-o", "golden_test"], kernels)
    ran = subprocess.run([str(kernels / "golden_test")], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout) == (1, f"1 of {schedule.network.output.bytes} bytes differ\n")


READS = """
#include <stdio.h>
#include "model.h"
static void read_rows(void *ctx, int y, int x, int h, int w, int8_t *dst)
{
    int *calls = ctx;
    for (int i = 0; i < h * w * MODEL_INPUT_C; i++)
        dst[i] = 0;
    *calls += 1;
    printf("%d %d %d %d\\n", y, x, h, w);
}
int main(void)
{
    static int8_t output[MODEL_OUTPUT_N];
    int calls = 0;
    if (model_invoke(NULL, NULL, output) != MODEL_NULL_POINTER)
        return 1;
    if (model_invoke_image(NULL, output) != MODEL_NULL_POINTER)
        return 1;
    return model_invoke(read_rows, &calls, output) == MODEL_OK && calls > 0 ? 0 : 2;
}
"""


def reads(schedule: Schedule, kernels: Path) -> list[list[int]]:
    image = example_of(schedule.network)
    made = sources(schedule, Facts("net"), image, simulate(schedule.network, image))
    for name in ("model.c", "model.h"):
        (kernels / name).write_text(made[name])
    (kernels / "reads.c").write_text(READS)
    compiled([*STRICT, *SANITIZED, "-O0", "model.c", "reads.c", "kernels.o", "-o", "reads"], kernels)
    ran = subprocess.run([str(kernels / "reads")], capture_output=True, text=True, timeout=60, check=True)
    return [[int(word) for word in line.split()] for line in ran.stdout.splitlines()]


def test_a_streamed_image_is_read_once_from_top_to_bottom(kernels: Path) -> None:
    network = mcunet("mcunet_in0", 48)
    assert reads(least_memory(network), kernels) == [[y, 0, 1, 48] for y in range(48)]


def test_patches_read_their_halos_and_nothing_outside_of_the_image(kernels: Path) -> None:
    schedule = patched(mcunet("mcunet_in0", 48), 3, 2)
    rows = reads(schedule, kernels)
    assert len(rows) > 48
    assert all(y >= 0 and x >= 0 and y + h <= 48 and x + w <= 48 for y, x, h, w in rows)
    seen = {(y, column) for y, x, _, w in rows for column in range(x, x + w)}
    assert len(seen) == 48 * 48


@pytest.mark.parametrize("name", ["*/ int evil(void); /*", 'a"b\\c', "net\n#error", "x" * 500, "né??/"])
def test_no_name_reaches_the_source_as_code(name: str, kernels: Path) -> None:
    schedule = least_memory(mcunet("mcunet_in0", 48))
    image = example_of(schedule.network)
    made = sources(schedule, Facts(name), image, simulate(schedule.network, image))
    assert re.fullmatch(r"[A-Za-z0-9 _.,:+()=-]*", printable(name))
    assert not any(name in text for text in made.values())
    (kernels / "model.c").write_text(made["model.c"])
    (kernels / "model.h").write_text(made["model.h"])
    compiled([*STRICT, "-O0", "-c", "model.c", "-o", "model.o"], kernels)
