"""One stage of training: a model, its data on the device, and a loop that can stop and go on."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from sdk.train import augment as aug
from sdk.train.checkpoint import load_checkpoint, save_checkpoint
from sdk.train.data import Split
from sdk.train.ema import Ema
from sdk.train.evaluate import Accuracy, evaluate, resize
from sdk.train.interrupt import Interrupted, StopRequest
from sdk.train.progress import StageProgress
from sdk.train.recipe import Distil, Recipe, Stage
from sdk.train.schedule import learning_rate

_REPORT_STEPS = 50
_VALIDATE_EPOCHS = 5


@dataclass(frozen=True)
class Run:
    """What all stages of a run share. `identity` ties checkpoints to the recipe and the data."""

    recipe: Recipe
    out: Path
    device: torch.device
    identity: str
    compiled: bool = False


@dataclass(frozen=True)
class DeviceData:
    """`images` (N, 3, side, side) uint8 and `labels` (N,) for training; validation at the input size."""

    images: Tensor
    labels: Tensor
    validation_images: Tensor
    validation_labels: Tensor


@dataclass(frozen=True)
class Fit:
    """A finished stage: the averaged model, its accuracy, and the seconds spent training."""

    model: nn.Module
    accuracy: Accuracy
    raw_accuracy: Accuracy
    seconds: float
    images_per_second: float


def to_device(train: Split, validation: Split, size: int, device: torch.device) -> DeviceData:
    """Everything as uint8 on `device`; validation images are resized once, as the product does it."""
    return DeviceData(
        torch.from_numpy(np.ascontiguousarray(train.images.transpose(0, 3, 1, 2))).to(device),
        torch.from_numpy(train.labels).to(device),
        torch.from_numpy(resize(validation.images, size)).to(device),
        torch.from_numpy(validation.labels).to(device),
    )


def fit(
    name: str,
    model: nn.Module,
    stage: Stage,
    data: DeviceData,
    run: Run,
    *,
    teacher: nn.Module | None = None,
    distil: Distil | None = None,
    stop: StopRequest | None = None,
) -> Fit:
    """Trains `model` to the end of `stage`, from `<out>/<name>.pt` where that exists.

    Raises `Interrupted` once `stop` is set, with a checkpoint written.
    """
    trainer = Trainer(name, model, stage, data, run, teacher, distil)
    trainer.resume()
    trainer.train(stop or StopRequest())
    accuracy, raw = trainer.validate(trainer.ema.model), trainer.validate(trainer.model)
    trainer.log(event="done", top1=accuracy.top1, top5=accuracy.top5, raw_top1=raw.top1)
    rate = trainer.step * trainer.batch / max(trainer.seconds, 1e-9)
    return Fit(trainer.ema.model, accuracy, raw, trainer.seconds, rate)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Decay for matrices and kernels only, none for norms and biases (all of one dimension)."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


class Trainer:
    """The state of one stage, and one step of it."""

    def __init__(
        self,
        name: str,
        model: nn.Module,
        stage: Stage,
        data: DeviceData,
        run: Run,
        teacher: nn.Module | None,
        distil: Distil | None,
    ) -> None:
        device = run.device
        self.name, self.stage, self.data, self.run, self.distil = name, stage, data, run, distil
        self.model = model.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        self.teacher = None if teacher is None else teacher.to(device).eval().requires_grad_(False)
        self.ema = Ema(self.model, stage.ema)
        groups = parameter_groups(self.model, stage.weight_decay)
        self.optimizer = torch.optim.AdamW(groups, lr=stage.lr, betas=stage.betas, fused=device.type == "cuda")
        self.generator = Generator(device).manual_seed(run.recipe.seed)
        self.batch = min(stage.batch, len(data.images))
        self.epoch_steps = len(data.images) // self.batch
        self.steps = stage.epochs * self.epoch_steps
        self.step = 0
        self.seconds = 0.0
        self._permutation: Tensor | None = None
        self.path = run.out / f"{name}.pt"
        self._forward: Callable[[Tensor], Tensor] = torch.compile(self.model) if run.compiled else self.model

    def train(self, stop: StopRequest) -> None:
        began, seconds_before = time.perf_counter(), self.seconds
        with StageProgress(self.name, self.steps, self.step, self.batch) as progress:
            while self.step < self.steps:
                loss, lr = self.advance()
                self.seconds = seconds_before + time.perf_counter() - began
                if self.step % _REPORT_STEPS == 0 or self.step == self.steps:
                    progress.show(self.step, loss.item(), lr)
                    self.log(loss=loss.item(), lr=lr, images_per_second=round(progress.rate))
                epoch_done = self.step % self.epoch_steps == 0
                if stop.requested:
                    self.save()
                    raise Interrupted(self.name, self.step, self.steps, self.path)
                if epoch_done and (self.step // self.epoch_steps) % _VALIDATE_EPOCHS == 0:
                    accuracy = self.validate(self.ema.model)
                    progress.note(accuracy.top1)
                    self.log(event="validation", top1=accuracy.top1, top5=accuracy.top5)
                    self.save()
        self.save()

    def advance(self) -> tuple[Tensor, float]:
        """One optimiser step: the loss (still on the device) and the learning rate used."""
        lr = learning_rate(self.step, self.steps, self.stage.lr, self.stage.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        images, target = self.next_batch()
        with torch.autocast(self.run.device.type, torch.bfloat16, enabled=self.run.device.type == "cuda"):
            logits = self._forward(images).float()
            guide = None if self.teacher is None else self.teacher(images).float()
        loss = self.loss(logits, target, guide)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.ema.update(self.step)
        self.step += 1
        return loss.detach(), lr

    def next_batch(self) -> tuple[Tensor, Tensor]:
        """Augmented (batch, 3, size, size) images and their (batch, classes) targets."""
        recipe, strengths, generator = self.run.recipe, self.run.recipe.augment, self.generator
        chosen = self._order()
        images = self.data.images[chosen].float() / 255
        images = aug.normalise(aug.jitter_colour(images, strengths, generator), recipe.mean, recipe.std)
        crops = aug.crop_transforms(self.batch, strengths, generator)
        images = aug.apply_crops(images, crops, recipe.input_size)
        mix = None
        if self.step < self.stage.mix_until * self.steps:
            mix = aug.draw_mix(self.batch, recipe.input_size, strengths, generator)
            images = aug.apply_mix(images, mix)
        labels = self.data.labels[chosen]
        target = aug.targets(labels, recipe.data.classes, self.stage.label_smoothing, mix)
        return images.contiguous(memory_format=torch.channels_last), target

    def loss(self, logits: Tensor, target: Tensor, guide: Tensor | None) -> Tensor:
        hard = F.cross_entropy(logits, target)
        if guide is None or self.distil is None:
            return hard
        t, weight = self.distil.temperature, self.distil.weight
        soft = F.kl_div(
            F.log_softmax(logits / t, 1), F.log_softmax(guide / t, 1), reduction="batchmean", log_target=True
        )
        return weight * t * t * soft + (1 - weight) * hard

    def _order(self) -> Tensor:
        """The indices of this step's images: each epoch has a permutation that only its number decides."""
        epoch, place = divmod(self.step, self.epoch_steps)
        if place == 0 or self._permutation is None:
            source = Generator().manual_seed(self.run.recipe.seed * 1_000_003 + epoch)
            self._permutation = torch.randperm(len(self.data.images), generator=source).to(self.run.device)
        return self._permutation[place * self.batch : (place + 1) * self.batch]

    def validate(self, model: nn.Module) -> Accuracy:
        recipe, data = self.run.recipe, self.data
        return evaluate(
            model, data.validation_images, data.validation_labels,
            mean=recipe.mean, std=recipe.std, size=recipe.input_size, device=self.run.device,
        )  # fmt: skip

    def save(self) -> None:
        cuda = self.run.device.type == "cuda"
        state = {
            "run": self.run.identity,
            "step": self.step,
            "seconds": self.seconds,
            "model": self.model.state_dict(),
            "ema": self.ema.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "cpu_random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state(self.run.device) if cuda else None,
        }
        save_checkpoint(self.path, state)

    def resume(self) -> None:
        """Takes up the stage's checkpoint, if there is one."""
        if not self.path.exists():
            return
        state = load_checkpoint(self.path, self.run.identity)
        self.model.load_state_dict(state["model"])
        self.ema.model.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["cpu_random"])
        if self.run.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda_random"], self.run.device)
        self.step, self.seconds = state["step"], state["seconds"]

    def log(self, **facts: Any) -> None:
        """One line of JSON in `<out>/log.jsonl`."""
        facts = {"stage": self.name, "step": self.step, "seconds": round(self.seconds, 1), **facts}
        with (self.run.out / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(facts) + "\n")
