"""A training recipe: every number of a run, read from one TOML file and checked key by key."""

import tomllib
import types
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from runtime_py.errors import SdkError, unknown_name

T = TypeVar("T")


class RecipeError(SdkError):
    """A recipe file that cannot be read, or a value in it that makes no sense."""

    id = "bad-recipe"


@dataclass(frozen=True)
class Data:
    """Which files hold the images, and what they are. `side` is the stored image side in pixels."""

    train: str
    validation: str
    classes: int
    side: int
    title: str
    licence: str


@dataclass(frozen=True)
class Augment:
    """Strengths of the augmentations; `cutmix` and `mixup` are shares of the images."""

    area: tuple[float, float]
    aspect: tuple[float, float]
    flip: float
    brightness: float
    contrast: float
    saturation: float
    cutmix: float
    mixup: float


@dataclass(frozen=True)
class Stage:
    """One optimisation: AdamW, warm-up then cosine; `warmup` and `mix_until` are shares of the steps."""

    epochs: int
    batch: int
    lr: float
    weight_decay: float
    warmup: float
    betas: tuple[float, float]
    ema: float
    label_smoothing: float
    mix_until: float


@dataclass(frozen=True)
class Student:
    """The network that ships, by its name in the zoo, and how it is optimised."""

    model: str
    stage: Stage


@dataclass(frozen=True)
class Distil:
    """Loss = weight x T^2 x KL(teacher || student, both at T) + (1 - weight) x cross-entropy."""

    weight: float
    temperature: float


@dataclass(frozen=True)
class Recipe:
    """A whole run. Without `teacher` and `distil` the student learns from the labels alone."""

    name: str
    seed: int
    input_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    data: Data
    augment: Augment
    student: Student
    teacher: Stage | None = None
    distil: Distil | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def load_recipe(source: str | Path) -> Recipe:
    """The recipe in a TOML file, or the packaged one of that name. Raises `RecipeError`, `UnknownName`."""
    path = Path(source)
    if path.suffix != ".toml":
        packaged = {p.stem: p for p in (Path(__file__).parent / "recipes").glob("*.toml")}
        if str(source) not in packaged:
            raise unknown_name("recipe", str(source), sorted(packaged))
        path = packaged[str(source)]
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError(f"no recipe file {path}", hint="sdk train tin200, or the path of a .toml file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not TOML: {error}") from error
    recipe = _build(Recipe, table, path.name)
    _check(recipe, path.name)
    return recipe


def _build(kind: type[T], table: Any, where: str) -> T:
    """`kind` from a TOML table: unknown and missing keys, and values of another type, are errors."""
    if not isinstance(table, dict):
        raise RecipeError(f"{where} is {table!r}", expected="a table")
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    for key in table:
        if key not in known:
            raise unknown_name(f"key in {where}", key, sorted(known))
    missing = [name for name, field in known.items() if field.default is MISSING and name not in table]
    if missing:
        raise RecipeError(f"{where} lacks {', '.join(missing)}", expected=f"the keys {', '.join(known)}")
    hints = get_type_hints(kind)
    return kind(**{key: _value(hints[key], value, f"{where}: {key}") for key, value in table.items()})


def _value(hint: Any, value: Any, where: str) -> Any:
    if isinstance(hint, types.UnionType):
        hint = next(kind for kind in get_args(hint) if kind is not types.NoneType)
    if is_dataclass(hint) and isinstance(hint, type):
        return _build(hint, value, where)
    kinds = get_args(hint)
    if kinds:
        if not isinstance(value, list) or len(value) != len(kinds):
            raise RecipeError(f"{where} = {value!r}", expected=f"a list of {len(kinds)} numbers")
        return tuple(_value(kind, item, where) for kind, item in zip(kinds, value, strict=True))
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise RecipeError(f"{where} = {value!r}", expected=f"{hint.__name__}, not {type(value).__name__}")
    return value


def _check(recipe: Recipe, where: str) -> None:
    """Ranges that a type cannot express."""
    stages = {"student.stage": recipe.student.stage}
    if recipe.teacher is not None:
        stages["teacher"] = recipe.teacher
    augment = recipe.augment
    rules = [
        (recipe.seed >= 0, "seed", "0 or more"),
        (recipe.input_size >= 32, "input_size", "32 pixels or more"),
        (min(recipe.std) > 0, "std", "numbers above 0"),
        (recipe.data.classes >= 2, "data.classes", "2 or more"),
        (recipe.data.side >= 8, "data.side", "8 pixels or more"),
        (0 < augment.area[0] <= augment.area[1] <= 1, "augment.area", "0 < low <= high <= 1"),
        (0 < augment.aspect[0] <= augment.aspect[1], "augment.aspect", "0 < low <= high"),
        (0 <= augment.flip <= 1, "augment.flip", "0 to 1"),
        (min(augment.brightness, augment.contrast, augment.saturation) >= 0, "augment", "strengths of 0 or more"),
        (max(augment.brightness, augment.contrast, augment.saturation) <= 1, "augment", "strengths of 1 or less"),
        (min(augment.cutmix, augment.mixup) >= 0, "augment.cutmix", "shares of 0 or more"),
        (augment.cutmix + augment.mixup <= 1, "augment.cutmix", "cutmix + mixup at most 1"),
        ((recipe.teacher is None) == (recipe.distil is None), "distil", "teacher and distil together, or neither"),
        (recipe.distil is None or 0 <= recipe.distil.weight <= 1, "distil.weight", "0 to 1"),
        (recipe.distil is None or recipe.distil.temperature > 0, "distil.temperature", "above 0"),
    ]
    for name, stage in stages.items():
        rules += [
            (stage.epochs >= 1, f"{name}.epochs", "1 or more"),
            (stage.batch >= 2, f"{name}.batch", "2 or more"),
            (stage.lr > 0, f"{name}.lr", "above 0"),
            (stage.weight_decay >= 0, f"{name}.weight_decay", "0 or more"),
            (0 <= stage.warmup < 1, f"{name}.warmup", "a share of the steps, 0 to below 1"),
            (all(0 <= beta < 1 for beta in stage.betas), f"{name}.betas", "0 to below 1"),
            (0 <= stage.ema < 1, f"{name}.ema", "0 to below 1"),
            (0 <= stage.label_smoothing < 1, f"{name}.label_smoothing", "0 to below 1"),
            (0 <= stage.mix_until <= 1, f"{name}.mix_until", "a share of the steps, 0 to 1"),
        ]
    for holds, key, expected in rules:
        if not holds:
            raise RecipeError(f"{where}: {key} is out of range", expected=expected)
