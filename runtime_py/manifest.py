"""What a bundle's manifest.json holds: the one vocabulary that every folder shares."""

from typing import Any, Literal

import msgspec

SCHEMA_VERSION = "1.4"

Task = Literal["classify", "detect", "decode_video", "raw"]
Io = Literal["float32", "int8", "uint8"]
"""What a network takes and gives: as it was trained, integers by a scale, or pixels (and integers)."""
Status = Literal["executed", "interpreted", "converted", "failed"]
"""`executed`: ran here in its own runtime. `interpreted`: Core ML's MIL program, run over torch on Linux.
`converted`: written, and nothing here could run it. `failed`: refused, crashed, or differs from PyTorch."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the manifest. Unknown fields are ignored, so that an older reader takes a newer minor version."""

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists and numbers, as in the JSON file."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


class Affine(Record, frozen=True, kw_only=True):
    """What integers stand for: real = (integer - zero_point) * scale, of a whole tensor."""

    scale: float
    zero_point: int


class Tensor(Record, frozen=True, kw_only=True):
    """One input or output: its name, shape such as (1, 3, 224, 224), numpy dtype and layout such as `NCHW`.

    `quantization` says what int8 or uint8 values stand for; None where values are what they are.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    layout: str = ""
    quantization: Affine | None = None


class Preprocessing(Record, frozen=True, kw_only=True):
    """From an RGB image of HWC uint8 to the network's input; field names and units are OpenVINO Model API's.

    The image is resized so that it covers `width` x `height` (`crop`), fits inside (`letterbox`) or matches it
    (`standard`), then each value becomes `(x / 255 - mean / 255) / (scale / 255)`, every step rounded to float32,
    which is torchvision's ToTensor and Normalize to the last bit. Where the input is int8, that is then rounded by its
    `quantization`; with `folded` the network does all this itself, and takes the pixels.
    """

    input: str
    width: int
    height: int
    resize_type: Literal["crop", "letterbox", "standard"] = "crop"
    interpolation: Literal["nearest", "bilinear", "bicubic"] = "bilinear"
    crop_fraction: float = 1.0
    """With `crop`: the cut-out's share of the resized image's side (timm's crop_pct)."""
    mean_values: tuple[float, ...] = (0.0, 0.0, 0.0)
    scale_values: tuple[float, ...] = (255.0, 255.0, 255.0)
    pad_value: int = 0
    color: Literal["RGB", "BGR"] = "RGB"
    folded: bool = False
    """Mean and scale are part of the network: its input is uint8, the resized and padded pixels themselves."""


class Classify(Record, frozen=True, kw_only=True, tag="classify"):
    """Class scores (1, classes) from `output`; `softmax` is true where it holds logits."""

    output: str
    softmax: bool = True


class Detect(Record, frozen=True, kw_only=True, tag="detect"):
    """Boxes from `output` (1, 4 + classes, N): centre x, centre y, width, height in input pixels, then class scores.

    Candidates at or under `confidence_threshold` go first; of the rest, non-maximum suppression drops those that
    overlap a better one by more than `iou_threshold` (of the same class, or of any with `agnostic_nms`), and the
    best `max_detections` stay. With `multi_label` a box may carry several classes, as COCO's evaluation wants.
    """

    output: str
    confidence_threshold: float = 0.25
    iou_threshold: float = 0.7
    max_detections: int = 300
    agnostic_nms: bool = False
    multi_label: bool = False


class DecodeVideo(Record, frozen=True, kw_only=True, tag="decode_video"):
    """Frames from `output` (1, 3, T, H, W) with values in -1..1, of the latent `input` (1, C, t, h, w).

    One step of the latent is `scale` (time, height, width) steps of the video. With `causal` the first step is one
    frame: T = (t - 1) * scale[0] + 1; otherwise T = t * scale[0].
    """

    input: str
    output: str
    scale: tuple[int, int, int]
    causal: bool = True


Postprocessing = Classify | Detect | DecodeVideo
"""From the network's output to an answer, by task; `type` names it in the JSON."""


class Top(Record, frozen=True, kw_only=True):
    """One class among the best, and its probability."""

    index: int
    score: float


class Proof(Record, frozen=True, kw_only=True):
    """An artifact's answers against PyTorch's on one golden input.

    The worst output's SQNR in dB (identical answers count as 200), cosine and largest absolute error; `top1` is the
    share of rows whose largest element agrees. `top5` holds a classifier's own best classes.
    """

    input: str
    sqnr_db: float
    cosine: float
    max_error: float
    top1: float
    fidelity_db: float | None = None
    """Of a quantised artifact: SQNR against the quantised program."""
    quantised_db: float | None = None
    """The quantised program's own SQNR against PyTorch."""
    top5: tuple[Top, ...] = ()


class Accuracy(Record, frozen=True, kw_only=True):
    """The task's metric of an artifact, run in its own runtime, beside the float network's on the same samples.

    `value`, `reference` and `drop` are shares of 1 (`psnr_db`: dB); `low` and `high` are the drop's 95 % interval, by
    a paired bootstrap over the samples.
    """

    metric: str
    value: float
    reference: float
    drop: float
    low: float
    high: float
    samples: int
    data: str


class Contents(Record, frozen=True, kw_only=True):
    """What is in an artifact's file, read back from it: the weights' elements by their type, and how many of its layers
    (convolutions and matrix products) compute in integers."""

    weights: dict[str, int] = {}
    integer_layers: int = 0
    layers: int = 0

    @property
    def int8_share(self) -> float:
        """Of the weights' elements, those of 8 bits or fewer."""
        small = sum(count for name, count in self.weights.items() if name in ("int8", "uint8", "int4", "uint4"))
        return small / max(1, sum(self.weights.values()))


class Calibrated(Record, frozen=True, kw_only=True):
    """The samples that ranges were measured on: where from, how many, and the SHA-256 of what the network was given.

    `skipped` names those that could not be read.
    """

    data: str
    count: int
    sha256: str
    skipped: tuple[str, ...] = ()


class LayerError(Record, frozen=True, kw_only=True):
    """What quantising one layer alone does to the answer: its weights, and the value that it gives. A value that no
    layer gives (a sum, an input) has a row of its own, without MACs and weights.

    `quality_db` is the answer's SQNR then; `content` the share of answers that become others: another best class,
    or a box that is found no more.
    """

    name: str
    module: str
    macs: int
    weights: int
    quality_db: float
    content: float
    kept: bool = False
    """Whether it stays in higher precision."""
    why: str = ""


class Trial(Record, frozen=True, kw_only=True):
    """One thing that was tried: its score (higher is better, `metric` says what), and its cost.

    `drop` is the program's against the float network, None where `metric` is not what the gate asks for; `files_drop`
    that of its worst file in its own runtime, where files were made of it. `int8_macs` is the share of
    multiply-accumulates in integers.
    """

    name: str
    metric: str
    score: float
    drop: float | None = None
    files_drop: float | None = None
    bytes: int | None = None
    int8_macs: float = 1.0
    chosen: bool = False
    seconds: float = 0.0

    @property
    def scored(self) -> bool:
        """Whether it is one of the programs that `mixed` chooses among, not a way to quantise."""
        return self.drop is not None


class Quantization(Record, frozen=True, kw_only=True):
    """How the one quantised program was made from which all artifacts are lowered."""

    scheme: str
    program_sha256: str
    calibration: Calibrated | None = None
    ranges: str = ""
    """What chose the activations' ranges."""
    sqnr_db: float | None = None
    """Of the quantised program against the float network, on samples that were not calibrated on."""
    agreement: float | None = None
    """On those: the share of a classifier's best classes, or of a detector's objects, that are the same."""
    trials: tuple[Trial, ...] = ()
    layers: tuple[LayerError, ...] = ()
    int8_macs: float = 1.0
    max_drop: float | None = None
    """The gate, in shares of 1; None where accuracy was not measured."""


class Emulation(Record, frozen=True, kw_only=True):
    """One inference of a microcontroller's program in an emulated core, whose answer equals the host's to the last bit.

    `instructions` are counted, not cycles and no time; `stack_bytes` is the high-water mark; `flash_bytes` are code and
    constants as compiled for that core.
    """

    core: str
    instructions: int
    stack_bytes: int
    flash_bytes: int
    compiler: str = ""
    emulator: str = ""


class StageRow(Record, frozen=True, kw_only=True):
    """Layers that a microcontroller's program runs together; `how` is `rows`, `whole` or `4 x 4 patches`.

    `kept_bytes` are its input and output, `line_bytes` rows in between, `waiting_bytes` what later stages read.
    """

    modules: str
    how: str
    kept_bytes: int
    line_bytes: int
    waiting_bytes: int
    macs: int
    extra_macs: int


class Microcontroller(Record, frozen=True, kw_only=True):
    """What is known about generated C: RAM but for the stack, multiply-accumulates, and how it was proven.

    `input` and `output` are what its bytes stand for. Without `emulations` it ran on this host only, and `not_emulated`
    says why.
    """

    arena_bytes: int
    macs: int
    extra_macs: int
    constant_bytes: int
    input: Affine
    output: Affine
    whole_bytes: int
    """The arena that one layer after the other would take."""
    stages: tuple[StageRow, ...] = ()
    emulations: tuple[Emulation, ...] = ()
    not_emulated: str = ""


class Artifact(Record, frozen=True, kw_only=True):
    """One exported file (or folder: `.mlpackage`, OpenVINO's .xml and .bin) and what is known about it.

    `sha256` of a folder is that of its sorted lines `HASH  RELATIVE/PATH`. `sqnr_db` is the worst golden input's,
    None where nothing ran.
    """

    target: str
    precision: str
    file: str
    bytes: int
    sha256: str
    status: Status
    sqnr_db: float | None = None
    cosine: float | None = None
    max_error: float | None = None
    top1_agreement: float | None = None
    proofs: tuple[Proof, ...] = ()
    reason: str = ""
    """Why the status is not `executed`; empty otherwise."""
    fidelity_db: float | None = None
    """Of a quantised artifact: its worst SQNR against the quantised program, where `sqnr_db` is against the network."""
    accuracy: Accuracy | None = None
    contents: Contents | None = None
    mcu: Microcontroller | None = None
    inputs: tuple[str, ...] = ()
    """The runtime's own names, in the order of the manifest's inputs."""
    outputs: tuple[str, ...] = ()
    operators_total: int | None = None
    operators_delegated: int | None = None
    """Operators that run in the target's fast path; None where this machine cannot know."""
    not_delegated: dict[str, int] = {}
    seconds: float = 0.0
    peak_mb: float | None = None
    tool_versions: dict[str, str] = {}


class Timing(Record, frozen=True, kw_only=True):
    """Milliseconds of `samples` runs of one step. `mad_ms` is the median distance from the median."""

    samples: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    min_ms: float
    max_ms: float
    mad_ms: float


class Second(Record, frozen=True, kw_only=True):
    """A second of a sustained run: how many answers, their median, and the board's state where it says it."""

    at_s: float
    runs: int
    p50_ms: float
    celsius: float | None = None
    mhz: int | None = None
    watts: float | None = None


class Node(Record, frozen=True, kw_only=True):
    """One operator of the network that was exported, in its order: what runtimes' operators are named after.

    `module` is the submodule's path, `operator` PyTorch's name of it (`silu`), `kind` one of `conv`, `depthwise`,
    `deconv`, `linear`, `product`, `add`, `multiply`, `join`, `pool`, `resize`, `softmax`, `activation`, `norm`, `move`
    and `other`. `input` is the shape of the first tensor that it reads, `weights` the elements of its weight; `kernel`
    and `stride` are those of windows.
    """

    module: str
    kind: str
    operator: str = ""
    input: tuple[int, ...]
    output: tuple[int, ...]
    macs: int = 0
    weights: int = 0
    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    groups: int = 1


class OperatorRow(Record, frozen=True, kw_only=True):
    """One operator as a runtime runs it: a network's operator with what was fused into it, or one of the runtime's own.

    `ms` is the mean of the middle half of its runs, each put at the processor's full speed (`pulse_us`). `node` is
    the place in the manifest's `network` of the operator that it computes; of the runtime's own (a reordering, a
    padding) that of the one it prepares, with `own` true. `gmacs_per_s` is what it reached, `roof` the share of what
    the device could: the lower of its peak and of what its memory feeds.
    """

    name: str
    kind: str
    ms: float
    node: int | None = None
    module: str = ""
    own: bool = False
    macs: int = 0
    gmacs_per_s: float | None = None
    roof: float | None = None


class Roofline(Record, frozen=True, kw_only=True):
    """What a device could do at most with so many threads (Williams, Waterman and Patterson, 2009), as measured there.

    Billions of multiply-accumulates a second: of float32 by numpy's matrix product, of int8 by a convolution of
    LiteRT; billions of bytes a second that a copy reads and writes. None where there was nothing to measure it with.
    """

    float_gmacs_per_s: float | None = None
    int8_gmacs_per_s: float | None = None
    gbytes_per_s: float | None = None


class EnergyRow(Record, frozen=True, kw_only=True):
    """Millijoules an inference, the median of the windows: all power counted (gross), and what is above idling (net).

    `rail` is what the meter measures, in words. A figure that is `estimated` is never compared with a measured one.
    """

    meter: str
    rail: str
    kind: Literal["measured", "estimated"]
    gross_mj: float | None
    net_mj: float | None
    gross_mad_mj: float | None
    net_mad_mj: float | None
    idle_w: float | None
    windows: int
    valid: bool
    why: str = ""


class ProfileRow(Record, frozen=True, kw_only=True):
    """How an artifact ran on a device, alone in a process of its own.

    `device` is its name as `runtime_py.host.probe().cpu` gives it there: a board's model, or else the processor's.
    `stages` are decode, preprocess, postprocess and end_to_end, where the task has them. `load_ms` is from nothing to a
    loaded artifact, its runtime's import included; `first_ms` the first answer. What was not measured is None, and
    `unmeasured` says why. Where `valid` is false, `why` says what disturbed the run.
    """

    target: str
    precision: str
    threads: int
    device: str
    kind: Literal["measured", "emulated"] = "measured"
    infer: Timing | None = None
    repeats_p50_ms: tuple[float, ...] = ()
    repeats_pulse_us: tuple[float, ...] = ()
    """Of each repeat, the mean time of a small fixed piece of work in between: how fast the processor was."""
    samples_ms: tuple[tuple[float, ...], ...] = ()
    """Every inference's time, by repeat, where they were asked for: a manifest does not keep them."""
    stages: dict[str, Timing] = {}
    sustained: tuple[Second, ...] = ()
    load_ms: float | None = None
    first_ms: float | None = None
    peak_rss_mb: float | None = None
    file_bytes: int | None = None
    energy_mj: float | None = None
    """The gross one of `energy`."""
    energy: EnergyRow | None = None
    operators: tuple[OperatorRow, ...] = ()
    """In the order in which they run, measured apart, where they were asked for."""
    whole_ms: float | None = None
    """Of an inference, by the same protocol as its operators: what their sum is to be compared with."""
    pulse_us: float | None = None
    """The least time, meanwhile, of a small fixed piece of work: the speed that operators and `whole_ms` are put at."""
    roofline: Roofline | None = None
    valid: bool = False
    why: str = ""
    unmeasured: dict[str, str] = {}
    conditions: dict[str, str] = {}
    created: str = ""


class File(Record, frozen=True, kw_only=True):
    """A further file of the bundle, and its hash."""

    file: str
    bytes: int
    sha256: str


class Failure(Record, frozen=True, kw_only=True):
    """A target that was asked for and did not make it into the bundle, with the reason and a way out."""

    target: str
    precision: str
    error: dict[str, str]


class Manifest(Record, frozen=True, kw_only=True):
    """The whole of manifest.json."""

    schema_version: str = SCHEMA_VERSION
    model: str
    task: Task = "raw"
    weights: str = ""
    source: str = ""
    """What was captured: `zoo`, `package.module:factory`, `file.py:factory` or a .pt2 file's name."""
    source_commit: str = ""
    licence: str = ""
    created: str = ""
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    io: Io = "float32"
    """What was asked for; a tensor whose dtype is float32 all the same is computed in float."""
    preprocessing: Preprocessing | None = None
    postprocessing: Postprocessing | None = None
    labels: tuple[str, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    failures: tuple[Failure, ...] = ()
    profiles: tuple[ProfileRow, ...] = ()
    quantization: Quantization | None = None
    network: tuple[Node, ...] = ()
    files: tuple[File, ...] = ()
    parameters: int | None = None
    published: dict[str, float | str] = {}
    tool_versions: dict[str, str] = {}
    host: dict[str, str] = {}
