"""`train`: runs the stages of a recipe. Imports torch only when called."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime_py.errors import SdkError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from sdk.train.card import Training
    from sdk.train.loop import DeviceData, Fit, Run
    from sdk.train.recipe import Recipe


class DeviceError(SdkError):
    """A compute device that PyTorch does not have here."""

    id = "no-such-device"


@dataclass(frozen=True)
class TrainResult:
    """Files written, and what was measured; accuracies are shares of `images` validation images."""

    weights: Path
    card: Path
    top1: float
    top5: float
    images: int
    seconds: float
    teacher_top1: float | None

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "weights": str(self.weights), "card": str(self.card)}


def train(
    recipe: "str | Path | Recipe",
    data: str | Path,
    out: str | Path,
    device: str | None = None,
    resume: bool = True,
    epochs: int | None = None,
    limit: int | None = None,
    compiled: bool = False,
) -> TrainResult:
    """Trains the recipe's network on the images in `data`; files go to `out`.

    `epochs` and `limit` shrink a run to a smoke test. A run that was stopped goes on from its
    checkpoint unless `resume` is false. Raises `SdkError` subclasses for bad input.
    """
    import torch

    from sdk.train.interrupt import stop_on_interrupt
    from sdk.train.loop import Run
    from sdk.train.recipe import Recipe, load_recipe

    settings = _shorten(recipe if isinstance(recipe, Recipe) else load_recipe(recipe), epochs)
    folder, place = Path(out), _device(device)
    folder.mkdir(parents=True, exist_ok=True)
    if not resume:
        for name in ("teacher.pt", "student.pt", "log.jsonl"):
            (folder / name).unlink(missing_ok=True)
    images = _load(settings, Path(data), folder, limit, place)
    run = Run(settings, folder, place, _identity(settings, images), compiled)
    torch.backends.cudnn.benchmark = True
    with stop_on_interrupt() as stop:
        torch.manual_seed(settings.seed)
        guide = None
        if settings.teacher is not None:
            guide = _fit_teacher(settings, images, run, stop)
        student = _fit_student(settings, images, run, stop, guide)
    return _write(settings, run, student, guide, limit)


def _shorten(recipe: "Recipe", epochs: int | None) -> "Recipe":
    if epochs is None:
        return recipe
    if epochs < 1:
        raise SdkError(f"{epochs} epochs", expected="1 or more")
    teacher = None if recipe.teacher is None else replace(recipe.teacher, epochs=epochs)
    student = replace(recipe.student, stage=replace(recipe.student.stage, epochs=epochs))
    return replace(recipe, teacher=teacher, student=student)


def _device(name: str | None) -> "torch.device":
    import torch

    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise DeviceError(
            f"device {name!r}: {str(error).splitlines()[0]}", expected="a device of this PyTorch", hint="--device cpu"
        ) from error
    return device


def _load(recipe: "Recipe", folder: Path, out: Path, limit: int | None, device: "torch.device") -> "DeviceData":
    from sdk.train.data import load_split
    from sdk.train.loop import to_device

    spec = recipe.data
    train_split, validation = (
        load_split(folder, pattern, classes=spec.classes, side=spec.side, cache=out / "decoded", limit=limit)
        for pattern in (spec.train, spec.validation)
    )
    return to_device(train_split, validation, recipe.input_size, device)


def _identity(recipe: "Recipe", data: "DeviceData") -> str:
    """A hash of all that decides the result, so that no checkpoint continues another run."""
    facts = [recipe.to_dict(), len(data.images), int(data.labels.sum())]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _fit_teacher(recipe: "Recipe", data: "DeviceData", run: "Run", stop: Any) -> "Fit":
    from sdk.train.loop import fit
    from sdk.train.teacher import Teacher

    assert recipe.teacher is not None
    return fit("teacher", Teacher(recipe.data.classes), recipe.teacher, data, run, stop=stop)


def _fit_student(recipe: "Recipe", data: "DeviceData", run: "Run", stop: Any, guide: "Fit | None") -> "Fit":
    from models_zoo import create_model
    from sdk.train.loop import fit
    from sdk.train.teacher import fold_norms

    model = create_model(recipe.student.model, num_classes=recipe.data.classes)
    teacher = None if guide is None else fold_norms(guide.model)
    return fit("student", model, recipe.student.stage, data, run, teacher=teacher, distil=recipe.distil, stop=stop)


def _write(recipe: "Recipe", run: "Run", student: "Fit", guide: "Fit | None", limit: int | None) -> TrainResult:
    import torch

    from sdk.train.card import model_card

    stem = f"{recipe.student.model}.{recipe.name}"
    weights, card = run.out / f"{stem}.safetensors", run.out / f"{stem}.md"
    digest = _save_weights(student.model, weights)
    command = f"sdk train {recipe.name} --data DIR --out DIR --device {run.device.type}"
    command += "" if limit is None else f" --limit {limit}"
    cuda = run.device.type == "cuda"
    text = model_card(
        recipe,
        parameters=sum(p.numel() for p in student.model.parameters()),
        accuracy=student.accuracy,
        command=command,
        device=torch.cuda.get_device_name(run.device) if cuda else "CPU",
        torch_version=torch.__version__,
        sha256=digest,
        student=_training(student),
        teacher=None if guide is None else _training(guide),
    )
    part = card.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(card)
    accuracy = student.accuracy
    seconds = student.seconds + (0.0 if guide is None else guide.seconds)
    teacher_top1 = None if guide is None else guide.accuracy.top1
    return TrainResult(weights, card, accuracy.top1, accuracy.top5, accuracy.images, seconds, teacher_top1)


def _training(fit: "Fit") -> "Training":
    from sdk.train.card import Training

    return Training(fit.seconds, fit.images_per_second, fit.accuracy)


def _save_weights(model: "nn.Module", path: Path) -> str:
    """Writes the float32 state dict; returns the file's sha256."""
    from safetensors.torch import save_file

    state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    part = path.with_suffix(".part")
    save_file(state, part, metadata={"format": "pt"})
    part.replace(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()
