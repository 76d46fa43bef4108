"""What integers are calibrated on is enough, varied, and the same in every run."""

from pathlib import Path

import msgspec
import numpy as np
from PIL import Image

from models_zoo import get_spec
from runtime_py.manifest import DecodeVideo, Manifest, Preprocessing, Tensor
from sdk.matrix.calibration import COUNT, calibration_options
from sdk.quantize.calibration import MINIMUM, read_calibration

PHOTOS = Manifest(
    model="any",
    task="classify",
    labels=("cat", "cup"),
    inputs=(Tensor(name="image", shape=(1, 3, 48, 48)),),
    outputs=(Tensor(name="logits", shape=(1, 2)),),
    preprocessing=Preprocessing(input="image", width=48, height=48),
)


def test_photos_are_what_the_quantiser_takes_and_the_same_in_every_run(tmp_path: Path) -> None:
    found = []
    for run in ("one", "two"):
        option, place = calibration_options(get_spec("mcunet_in0"), tmp_path / run)
        assert option == "--calibration"
        found.append(read_calibration(Path(place), PHOTOS, work=tmp_path / f"work-{run}"))
    assert found[0].record == found[1].record
    assert len(found[0]) == COUNT >= MINIMUM
    assert len(set(found[0].hashes)) == COUNT, "no two are alike"
    sizes = {Image.open(path).size for path in (tmp_path / "one/photos").iterdir()}
    assert len(sizes) > COUNT // 2, "they are rescaled"


def test_noise_is_for_video_decoders_at_a_small_latent(tmp_path: Path) -> None:
    options = calibration_options(get_spec("turbo_vaed_ltx"), tmp_path / "one")
    assert options[:3] == ["--input", "1,128,2,2,2", "--calibration"]
    manifest = Manifest(
        model="any",
        task="decode_video",
        inputs=(Tensor(name="z", shape=(1, 128, 2, 2, 2)),),
        outputs=(Tensor(name="frames", shape=(1, 3, 9, 64, 64)),),
        postprocessing=DecodeVideo(input="z", output="frames", scale=(8, 32, 32)),
    )
    calibration = read_calibration(Path(options[3]), manifest, work=tmp_path / "work")
    values = np.stack([arrays["z"] for arrays in calibration])
    assert len(values) == COUNT
    # 65,536 values of unit variance: their standard deviation is within five of its own, 1 / sqrt(2 n)
    assert abs(values.std() - 1.0) < 5 / np.sqrt(2 * values.size)
    assert msgspec.structs.asdict(calibration.record)["skipped"] == ()
