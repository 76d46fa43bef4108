"""The C of a schedule: tables of constants for `kernels.c`, which goes along as it is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from exporters.mcu.network import Layer, Network
from exporters.mcu.schedule import Placed, Schedule, title
from runtime_py.errors import SdkError

HERE = Path(__file__).parent / "c"
COPIED = (
    "kernels.c", "kernels.h", "rows_plain.h", "rows_sse2.h", "rows_dsp.h", "rows_mve.h", "CMakeLists.txt", "Makefile",
)  # fmt: skip
KINDS = {
    "read": "MCU_READ", "conv": "MCU_CONV", "pointwise": "MCU_POINTWISE", "depthwise": "MCU_DEPTHWISE",
    "add": "MCU_ADD", "multiply": "MCU_MULTIPLY", "maximum": "MCU_MAXIMUM", "average": "MCU_AVERAGE",
    "mean": "MCU_MEAN", "table": "MCU_TABLE",
}  # fmt: skip
MOST_STEPS, MOST_KERNEL, MOST_SIZE, MOST_TILES = 96, 32, 65535, 255
"""What the tables' fields hold; as in kernels.h."""


class TooLarge(SdkError):
    """A network that does not fit the tables."""

    id = "network-too-large"


@dataclass(frozen=True)
class Facts:
    """What the sources are called, and whether the caller passes the arena."""

    name: str
    dynamic: bool = False


def sources(
    schedule: Schedule, facts: Facts, example: np.ndarray[Any, Any], answer: np.ndarray[Any, Any]
) -> dict[str, str]:
    """The folder's files by name; `example` (H, W, C) int8 and its exact `answer` become golden_test.c."""
    _check(schedule)
    made = {name: (HERE / name).read_text(encoding="utf-8") for name in COPIED}
    made |= {
        "model.h": _header(schedule, facts),
        "model.c": _model(schedule, facts),
        "golden_test.c": _golden(schedule, example, answer),
        "README.md": _readme(schedule, facts),
    }
    return made


def _check(schedule: Schedule) -> None:
    for layer in schedule.network.layers:
        out = layer.output
        if max(out.height, out.width, out.channels) > MOST_SIZE or max(layer.kernel) > MOST_KERNEL:
            raise TooLarge(
                f"{layer.module or layer.kind}: {out.height} x {out.width} x {out.channels}, kernel {layer.kernel}",
                expected=f"sizes up to {MOST_SIZE}, kernels up to {MOST_KERNEL}",
                hint="pool before the linear layer",
            )
        if max(*layer.stride, *layer.pad) > 255:
            raise TooLarge(f"{layer.module}: stride {layer.stride}, padding {layer.pad}", expected="at most 255")
    for one in schedule.stages:
        if one.stage.last - one.stage.first + 1 + len(one.stage.kept) > MOST_STEPS:
            raise TooLarge(
                f"a stage of {one.stage.last - one.stage.first + 1} layers", expected=f"at most {MOST_STEPS}"
            )


def printable(text: str) -> str:
    """Text that cannot end a C comment or a string, nor start anything in one."""
    return re.sub(r"[^A-Za-z0-9 _.,:+()=-]", "_", text)[:120]


_DYNAMIC = """
#ifndef MODEL_ARENA_DYNAMIC
#define MODEL_ARENA_DYNAMIC
#endif
"""


def _header(schedule: Schedule, facts: Facts) -> str:
    given, gives = schedule.network.input, schedule.network.output
    return f"""/* {printable(facts.name)}: generated; see README.md.
 *
 * Not reentrant with the static arena: one call at a time. With MODEL_ARENA_DYNAMIC the caller passes an arena of
 * MODEL_ARENA_BYTES, aligned to 4 bytes, and calls with different arenas may run at once.
 */
#ifndef MODEL_H
#define MODEL_H
{_DYNAMIC if facts.dynamic else ""}
#include <stdint.h>

#define MODEL_ARENA_BYTES {max(schedule.arena, 16)} /* all RAM that it needs but stack and the caller's image */
#define MODEL_INPUT_H {given.height}
#define MODEL_INPUT_W {given.width}
#define MODEL_INPUT_C {given.channels}
#define MODEL_INPUT_SCALE {_float(given.scale)} /* real = scale * (byte - zero point) */
#define MODEL_INPUT_ZERO_POINT {_int(given.zero)}
#define MODEL_OUTPUT_N {gives.bytes}
#define MODEL_OUTPUT_SCALE {_float(gives.scale)}
#define MODEL_OUTPUT_ZERO_POINT {_int(gives.zero)}
#define MODEL_MACS {schedule.network.total_macs}
#define MODEL_EXTRA_MACS {schedule.extra_macs} /* on top of MODEL_MACS: made again at the borders of patches */

#define MODEL_OK 0
#define MODEL_NULL_POINTER 1

#ifdef __cplusplus
extern "C" {{
#endif

/* Copies rows y .. y+h and columns x .. x+w of the input, (h, w, MODEL_INPUT_C) bytes, to dst. */
typedef void (*model_read_fn)(void *ctx, int y, int x, int h, int w, int8_t *dst);

/* The input is asked for from top to bottom, a row or a part of one at a time. Gives 0, or one of the errors above. */
#ifdef MODEL_ARENA_DYNAMIC
int model_invoke(model_read_fn read, void *ctx, int8_t *output, int8_t *arena);
int model_invoke_image(const int8_t *image, int8_t *output, int8_t *arena);
#else
int model_invoke(model_read_fn read, void *ctx, int8_t *output);
int model_invoke_image(const int8_t *image, int8_t *output); /* an image in memory, (H, W, C) */
#endif

#ifdef __cplusplus
}}
#endif

#endif
"""


def _float(value: float) -> str:
    text = f"{np.float32(value)!s}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def _int(value: int) -> str:
    return str(value) if value >= 0 else f"({value})"


def _model(schedule: Schedule, facts: Facts) -> str:
    network = schedule.network
    parts = [
        f"/* {printable(facts.name)}: generated. Constants, and the order in which kernels.c goes through them. */",
        '#include "model.h"\n',
        '#include "kernels.h"\n\n#include <stddef.h>\n#include <string.h>\n',
    ]
    for index, layer in enumerate(network.layers):
        parts += _constants(network, index, layer)
    rows = [_layer_row(network, index, layer) for index, layer in enumerate(network.layers)]
    parts.append(f"static const mcu_layer layers[{len(rows)}] = {{\n" + "".join(rows) + "};\n")
    names = [f'    "{layer.kind} {printable(layer.module)}",\n' for layer in network.layers]
    parts.append(
        f"#ifdef MCU_CLOCK\nuint64_t mcu_ticks[{len(rows)}];\nconst int mcu_layers = {len(rows)};\n"
        f"const char *const mcu_names[{len(rows)}] = {{\n{''.join(names)}}};\n#endif\n"
    )
    for number, one in enumerate(schedule.stages):
        parts += _stage(network, number, one)
    entries = [
        f"    {{steps_{number}, spans_{number}, {f'moves_{number}' if one.moves else 'NULL'}, {_steps(one)},"
        f" {len(one.stage.spans)}, {len(one.moves)}}},\n"
        for number, one in enumerate(schedule.stages)
    ]
    parts.append(f"static const mcu_stage stages[{len(entries)}] = {{\n" + "".join(entries) + "};\n")
    parts.append(_CALLS.replace("STAGES", str(len(entries))))
    return "\n".join(parts)


_CALLS = """#ifdef MODEL_ARENA_DYNAMIC
#define ARENA_PARAMETER , int8_t *arena
#define ARENA_ARGUMENT , arena
#define ARENA_MISSING || arena == NULL
#else
#define ARENA_PARAMETER
#define ARENA_ARGUMENT
#define ARENA_MISSING
static union {
    int32_t aligned;
    int8_t bytes[MODEL_ARENA_BYTES];
} model_arena;
#define arena (model_arena.bytes)
#endif

int model_invoke(model_read_fn read, void *ctx, int8_t *output ARENA_PARAMETER)
{
    if (read == NULL || output == NULL ARENA_MISSING)
        return MODEL_NULL_POINTER;
    mcu_run(layers, stages, STAGES, arena, read, ctx, output);
    return MODEL_OK;
}

typedef struct {
    const int8_t *image;
} in_memory;

static void read_image(void *ctx, int y, int x, int h, int w, int8_t *dst)
{
    const in_memory *from = ctx;
    const size_t size = (size_t)w * MODEL_INPUT_C;
    for (int row = y; row < y + h; row++, dst += size)
        memcpy(dst, from->image + ((size_t)row * MODEL_INPUT_W + (size_t)x) * MODEL_INPUT_C, size);
}

int model_invoke_image(const int8_t *image, int8_t *output ARENA_PARAMETER)
{
    in_memory from = {image};
    if (image == NULL)
        return MODEL_NULL_POINTER;
    return model_invoke(read_image, &from, output ARENA_ARGUMENT);
}
"""


def _constants(network: Network, index: int, layer: Layer) -> Iterator[str]:
    if layer.weight.size:
        yield f"/* {index}: {printable(layer.module)} */"
        yield _array("int8_t", f"weight_{index}", layer.weight.ravel())
    if layer.kind in ("conv", "pointwise"):
        sums = layer.weight.astype(np.int64).reshape(len(layer.weight), -1).sum(1)
        yield _array("int32_t", f"bias_{index}", layer.bias - network.source(layer).zero * sums)
    elif layer.bias.size:
        yield _array("int32_t", f"bias_{index}", layer.bias)
    if layer.multiplier.size:
        yield _array("int32_t", f"multiplier_{index}", layer.multiplier)
        yield _array("int8_t", f"shift_{index}", layer.shift)


def _array(kind: str, name: str, values: Iterable[Any]) -> str:
    numbers = [str(int(value)) for value in values]
    lines = [", ".join(numbers[at : at + 32]) for at in range(0, len(numbers), 32)]
    return f"static const {kind} {name}[{len(numbers)}] = {{\n    " + ",\n    ".join(lines) + "};\n"


def _layer_row(network: Network, index: int, layer: Layer) -> str:
    given = network.source(layer) if layer.inputs else layer.output
    other = network.layers[layer.inputs[-1]].output if layer.inputs else layer.output
    small = (KINDS[layer.kind], *layer.kernel, *layer.stride, *layer.pad)
    if layer.kind == "mean" or layer.kernel[0] > MOST_KERNEL:
        small = (KINDS[layer.kind], 1, 1, 1, 1, 0, 0)
    zeros = (given.zero, other.zero, layer.output.zero, layer.low, layer.high)
    sizes = (given.height, given.width, given.channels, layer.output.height, layer.output.width, layer.output.channels)
    has = {"weight": layer.weight.size, "bias": layer.bias.size, "multiplier": layer.multiplier.size}
    has["shift"] = layer.shift.size
    tables = [f"{name}_{index}" if size else "NULL" for name, size in has.items()]
    return "    {" + ", ".join(map(str, (*small, *zeros, *sizes, *tables))) + f"}}, /* {printable(layer.module)} */\n"


def _steps(one: Placed) -> int:
    return len(one.stage.kept) + one.stage.last - one.stage.first + 1


def _stage(network: Network, number: int, one: Placed) -> Iterator[str]:
    stage = one.stage
    order = [*stage.kept, *range(stage.first, stage.last + 1)]
    place = {index: at for at, index in enumerate(order)}
    final = stage.last == len(network.layers) - 1
    rows = []
    for index in order:
        layer, kept = network.layers[index], index in stage.kept
        whole = kept or index == stage.last
        wide = layer.output.width if whole else max(span[index].x1 - span[index].x0 for span in stage.spans)
        inputs = [-1, -1] if kept else [*(place[source] for source in layer.inputs), -1, -1][:2]
        offset = "MCU_OUTPUT" if index == stage.last and final else one.offsets[index]
        scratch = one.sums.get(index, one.scratch)
        held = layer.output.height if whole else stage.rings[index]
        kind = "MCU_KEPT" if kept else KINDS[layer.kind]
        row_bytes = wide * layer.output.channels
        rows.append(
            f"    {{{index}, {kind}, {int(whole)}, {{{inputs[0]}, {inputs[1]}}}, {held}, {row_bytes}, {offset},"
            f" {scratch}}},\n"
        )
    yield f"/* {printable(title(network, stage))}: {one.bytes} bytes */"
    yield f"static const mcu_step steps_{number}[{len(rows)}] = {{\n" + "".join(rows) + "};\n"
    spans = [f"{{{s.y0}, {s.y1}, {s.x0}, {s.x1}}}" for tile in stage.spans for s in (tile[index] for index in order)]
    lines = [", ".join(spans[at : at + 6]) for at in range(0, len(spans), 6)]
    yield f"static const mcu_span spans_{number}[{len(spans)}] = {{\n    " + ",\n    ".join(lines) + "};\n"
    if one.moves:
        moves = ", ".join(f"{{{', '.join(map(str, move))}}}" for move in one.moves)
        yield f"static const mcu_move moves_{number}[{len(one.moves)}] = {{{moves}}};\n"


def _golden(schedule: Schedule, example: np.ndarray[Any, Any], answer: np.ndarray[Any, Any]) -> str:
    return f"""/* Runs one input and compares every byte of the answer: prints OK, or what differs. Generated. */
#include <stdio.h>

#include "model.h"

{_array("int8_t", "golden_input", example.ravel())}
{_array("int8_t", "golden_output", answer.ravel())}
#ifdef MODEL_ARENA_DYNAMIC
static union {{
    int32_t aligned;
    int8_t bytes[MODEL_ARENA_BYTES];
}} golden_arena;
#endif

int main(void)
{{
    static int8_t output[MODEL_OUTPUT_N];
    int wrong = 0;
#ifdef MODEL_ARENA_DYNAMIC
    const int error = model_invoke_image(golden_input, output, golden_arena.bytes);
#else
    const int error = model_invoke_image(golden_input, output);
#endif
    if (error != MODEL_OK) {{
        printf("error %d\\n", error);
        return 1;
    }}
    for (int i = 0; i < MODEL_OUTPUT_N; i++)
        wrong += output[i] != golden_output[i];
    if (wrong != 0) {{
        printf("%d of %d bytes differ\\n", wrong, MODEL_OUTPUT_N);
        return 1;
    }}
    printf("OK\\n");
    return 0;
}}
"""


def _readme(schedule: Schedule, facts: Facts) -> str:
    given, gives = schedule.network.input, schedule.network.output
    text = (HERE / "README.md.in").read_text(encoding="utf-8")
    words = {
        "NAME": facts.name, "ARENA": f"{schedule.arena:,}", "MACS": f"{schedule.network.total_macs:,}",
        "EXTRA": f"{schedule.extra_macs:,}", "INPUT": f"{given.height} x {given.width} x {given.channels}",
        "OUTPUT": f"{gives.bytes:,}",
    }  # fmt: skip
    for word, value in words.items():
        text = text.replace(f"@{word}@", printable(value))
    return text
