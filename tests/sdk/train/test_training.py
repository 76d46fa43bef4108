"""Training against closed forms, and a run that is stopped against one that is not."""

import io
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Generator, Tensor, nn

from runtime_py.errors import SdkError
from sdk.train.augment import Mix, apply_crops, apply_mix, crop_transforms, draw_mix, targets
from sdk.train.checkpoint import CheckpointError, load_checkpoint
from sdk.train.data import load_split
from sdk.train.evaluate import resize
from sdk.train.loop import DeviceData, Run, Trainer, parameter_groups
from sdk.train.recipe import Recipe, load_recipe
from sdk.train.schedule import learning_rate

SIDE = 32


def small(epochs: int = 2) -> Recipe:
    """The packaged recipe, shrunk to two classes of small images."""
    recipe = load_recipe("tin200")
    stage = replace(recipe.student.stage, epochs=epochs, batch=16, ema=0.5, lr=1e-2, label_smoothing=0.0)
    return replace(
        recipe,
        input_size=SIDE,
        data=replace(recipe.data, classes=2, side=SIDE),
        student=replace(recipe.student, stage=stage),
        augment=replace(recipe.augment, cutmix=0.2, mixup=0.2),
        teacher=None,
        distil=None,
    )


def colours(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy red images of class 0 and blue ones of class 1."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 2
    images = rng.integers(0, 60, (count, SIDE, SIDE, 3), dtype=np.uint8)
    images[labels == 0, ..., 0] += 150
    images[labels == 1, ..., 2] += 150
    return images, labels.astype(np.int64)


def trainer(out: Path, epochs: int = 2) -> Trainer:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model.append(nn.Dropout(0.1)).append(nn.Linear(8, 2))
    images, labels = (torch.from_numpy(array) for array in colours(64))
    data = DeviceData(images.permute(0, 3, 1, 2).contiguous(), labels, images, labels)
    recipe = small(epochs)
    run = Run(recipe, out, torch.device("cpu"), "this run")
    return Trainer("student", model, recipe.student.stage, data, run, None, None)


def test_the_schedule_is_a_line_and_half_a_cosine() -> None:
    assert learning_rate(0, 100, 1.0, 0.04) == pytest.approx(0.25)
    assert learning_rate(3, 100, 1.0, 0.04) == pytest.approx(1.0)
    assert learning_rate(52, 100, 2.0, 0.04) == pytest.approx(1.0)
    assert learning_rate(99, 100, 1.0, 0.0) == pytest.approx(0.5 * (1 + math.cos(math.pi * 0.99)))


def test_a_crop_of_everything_gives_the_image_back() -> None:
    image = torch.rand(2, 3, 16, 16)
    whole = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]).expand(2, 2, 3)
    torch.testing.assert_close(apply_crops(image, whole, 16), image, rtol=0, atol=1e-5)
    flipped = torch.tensor([[-1.0, 0, 0], [0, 1.0, 0]]).expand(2, 2, 3)
    torch.testing.assert_close(apply_crops(image, flipped, 16), image.flip(3), rtol=0, atol=1e-5)


def test_crops_cover_the_shares_that_the_recipe_names() -> None:
    strengths = load_recipe("tin200").augment
    maps = crop_transforms(4000, strengths, Generator().manual_seed(1))
    area = maps[:, 0, 0].abs() * maps[:, 1, 1]
    assert area.min() >= strengths.area[0] - 1e-5
    assert area.max() <= strengths.area[1] + 1e-5
    assert (maps[:, 0, 0] < 0).float().mean() == pytest.approx(strengths.flip, abs=0.03)


def test_cutmix_and_mixup_give_labels_the_images_share() -> None:
    strengths = load_recipe("tin200").augment
    mix = draw_mix(2000, 24, strengths, Generator().manual_seed(2))
    torch.testing.assert_close(mix.weight.mean((1, 2, 3)), mix.share, rtol=0, atol=1e-5)
    cut = ((mix.weight == 0).any(3).any(2).any(1)).float().mean()
    assert cut == pytest.approx(strengths.cutmix, abs=0.05)
    blended = ((mix.weight > 0) & (mix.weight < 1)).all(3).all(2).all(1).float().mean()
    assert blended == pytest.approx(strengths.mixup, abs=0.04)


def test_mixing_by_hand() -> None:
    images = torch.stack([torch.zeros(3, 2, 2), torch.ones(3, 2, 2)])
    mix = Mix(torch.full((2, 1, 2, 2), 0.75), torch.tensor([1, 0]), torch.full((2,), 0.75))
    assert apply_mix(images, mix)[:, 0, 0, 0].tolist() == [0.25, 0.75]
    found = targets(torch.tensor([0, 1]), 2, 0.2, mix)
    torch.testing.assert_close(found, torch.tensor([[0.7, 0.3], [0.3, 0.7]]))


def test_norms_and_biases_do_not_decay() -> None:
    decayed, others = parameter_groups(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)), 0.05)
    assert [tuple(p.shape) for p in decayed["params"]] == [(2, 1, 3, 3)]
    assert decayed["weight_decay"] == 0.05
    assert others["weight_decay"] == 0.0
    assert len(others["params"]) == 3


def states(of: Trainer) -> dict[str, Tensor]:
    return of.model.state_dict() | {f"ema.{key}": value for key, value in of.ema.model.state_dict().items()}


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    straight = trainer(tmp_path / "a")
    for _ in range(6):
        straight.advance()
    first = trainer(tmp_path / "b")
    for _ in range(3):
        first.advance()
    first.save()
    torch.manual_seed(99)
    second = trainer(tmp_path / "b")
    second.resume()
    assert second.step == 3
    for _ in range(3):
        second.advance()
    expected = states(straight)
    for key, value in states(second).items():
        assert torch.equal(value, expected[key]), key


def test_a_checkpoint_of_another_run_or_none_is_refused(tmp_path: Path) -> None:
    one = trainer(tmp_path)
    one.save()
    with pytest.raises(CheckpointError, match="belongs to a run with another recipe"):
        load_checkpoint(one.path, "another run")
    one.path.write_bytes(b"no checkpoint")
    with pytest.raises(CheckpointError, match="--fresh"):
        load_checkpoint(one.path, "this run")


def test_training_learns_what_can_be_learnt(tmp_path: Path) -> None:
    one = trainer(tmp_path, epochs=15)
    before, _ = one.advance()
    while one.step < one.steps:
        last, _ = one.advance()
    assert last < before
    assert one.validate(one.ema.model).top1 > 0.95


def test_shards_of_jpegs_become_the_images_that_pillow_decodes(tmp_path: Path) -> None:
    images, labels = colours(6)
    files = []
    for image in images:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=95)
        files.append(buffer.getvalue())
    np.savez(
        tmp_path / "train_0.npz",
        data=np.frombuffer(b"".join(files), np.uint8),
        offsets=np.cumsum([0, *map(len, files)]),
        labels=labels,
        wnids=np.array(["n1", "n2"]),
    )
    split = load_split(tmp_path, "train_*.npz", classes=2, side=SIDE, cache=tmp_path / "cache")
    assert split.labels.tolist() == labels.tolist()
    for file, image in zip(files, split.images, strict=True):
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(file)).convert("RGB")), image)
    again = load_split(tmp_path, "train_*.npz", classes=2, side=SIDE, cache=tmp_path / "cache")
    assert np.array_equal(again.images, split.images)


def test_a_lone_array_is_no_shard(tmp_path: Path) -> None:
    """numpy.load takes it, whatever its name."""
    with (tmp_path / "train_0.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(SdkError, match=r"train_0\.npz is not a readable npz"):
        load_split(tmp_path, "train_*.npz", classes=2, side=SIDE, cache=tmp_path / "cache")


def test_evaluation_resizes_as_pillow_does() -> None:
    images, _ = colours(2)
    expected = np.asarray(Image.fromarray(images[1]).resize((48, 48), Image.Resampling.BILINEAR))
    assert np.array_equal(resize(images, 48)[1], expected)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("seed = 0", "sed = 0", "did you mean seed"),
        ("seed = 0", "seed = 'x'", "int, not str"),
        ("flip = 0.5", "flip = 5.0", "augment.flip is out of range"),
        ("epochs = 105", "epochs = 0", "epochs is out of range"),
        ("seed = 0", "", "lacks seed"),
        ("seed = 0", "seed = = 0", "is not TOML"),
    ],
)
def test_a_wrong_recipe_names_the_key(tmp_path: Path, old: str, new: str, words: str) -> None:
    import sdk.train.recipe

    packaged = Path(sdk.train.recipe.__file__).parent / "recipes" / "tin200.toml"
    file = tmp_path / "mine.toml"
    file.write_text(packaged.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    with pytest.raises(SdkError, match=words):
        load_recipe(file)


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(SdkError, match="did you mean tin200"):
        load_recipe("tin20")
