"""The model card beside a weights file: measured facts only."""

from dataclasses import dataclass

from sdk.train.evaluate import Accuracy
from sdk.train.recipe import Recipe


@dataclass(frozen=True)
class Training:
    """How a stage went. Accuracies are of the averaged weights at the recipe's input size."""

    seconds: float
    images_per_second: float
    accuracy: Accuracy


def model_card(
    recipe: Recipe,
    *,
    parameters: int,
    accuracy: Accuracy,
    command: str,
    device: str,
    torch_version: str,
    sha256: str,
    student: Training,
    teacher: Training | None,
) -> str:
    """Markdown."""
    size, stage = recipe.input_size, recipe.student.stage
    lines = [
        f"# {recipe.student.model}, {recipe.name}",
        "",
        f"{parameters:,} parameters, {recipe.data.classes} classes, input {size} x {size} RGB.",
        "",
        "| measured on | top-1 | top-5 |",
        "|---|---|---|",
        f"| {accuracy.images:,} validation images at {size} px | {accuracy.top1:.2%} | {accuracy.top5:.2%} |",
        "",
        f"- Preprocessing: bilinear resize (Pillow) to {size} x {size}, x / 255, mean {list(recipe.mean)}, "
        f"std {list(recipe.std)}.",
        f"- Data: {recipe.data.title}.",
        f"- Licence: {recipe.data.licence}",
        f"- Recipe: `{recipe.name}`, seed {recipe.seed}. Command: `{command}`.",
        f"- Student: {stage.epochs} epochs, batch {stage.batch}, {student.seconds:.0f} s, "
        f"{student.images_per_second:,.0f} images/s.",
    ]
    if teacher is not None and recipe.teacher is not None:
        lines.append(
            f"- Teacher: {recipe.teacher.epochs} epochs, {teacher.seconds:.0f} s, "
            f"{teacher.images_per_second:,.0f} images/s, top-1 {teacher.accuracy.top1:.2%}."
        )
    lines += [f"- Device: {device}; torch {torch_version}.", f"- sha256: `{sha256}`", ""]
    return "\n".join(lines)
