"""Weights from the Hugging Face Hub, with the preprocessing that timm's config.json states."""

import hashlib
import json
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models_zoo.registry import ModelSpec, Weights
from runtime_py.errors import SdkError, missing_extra

PREFIX = "hf:"
WEIGHTS_FILE, CONFIG_FILE = "model.safetensors", "config.json"
INTERPOLATIONS = ("nearest", "bilinear", "bicubic")


class HubError(SdkError):
    """A repository of the Hub that cannot be had, or does not state what its config.json should."""

    id = "weights-hub"


@dataclass(frozen=True)
class HubWeights:
    """A repository's weights on disk, what its config.json says of them, and its class names, if any."""

    path: Path
    row: Weights
    labels: tuple[str, ...]


def hub_weights(name: str, spec: ModelSpec) -> HubWeights:
    """`hf:owner/name` or `hf:owner/name@revision`: fetched once into the Hub's own cache, offline ever after.

    A branch stays where it was first seen; name a commit to have another. What config.json leaves open is `spec`'s.
    Raises HubError, or MissingExtra without huggingface_hub.
    """
    found = re.fullmatch(r"hf:([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", name)
    if found is None:
        raise HubError(f"weights {name!r}", expected="hf:owner/name or hf:owner/name@revision")
    repository, revision = found[1], found[2] or "main"
    path = _file(repository, revision, WEIGHTS_FILE)
    if path is None:
        raise HubError(
            f"{name} has no {WEIGHTS_FILE}",
            expected="a repository that timm can load",
            hint="other files of a repository: --weights FILE, once it is on this machine",
        )
    sha256 = _verify(path)
    commit = path.parent.name  # the revision may move between the two files
    settings = _file(repository, commit, CONFIG_FILE)
    config = _read(settings, name) if settings else {}
    row = _row(
        config, spec, name=name, url=f"https://huggingface.co/{repository}/tree/{commit}", path=path, sha256=sha256
    )
    return HubWeights(path, row, _labels(config, row.num_classes))


def _file(repository: str, revision: str, name: str) -> Path | None:
    """A file of the repository, from the cache if it is there; None where the repository has no such file."""
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ModuleNotFoundError as error:
        raise missing_extra("huggingface_hub", extra="hub", needed_for=f"{PREFIX}{repository}") from error

    cached = huggingface_hub.try_to_load_from_cache(repository, name, revision=revision)
    if isinstance(cached, str):
        return Path(cached)
    if cached is not None:  # the cache knows that the repository has no such file
        return None
    given = f"{PREFIX}{repository}@{revision}"
    try:
        return Path(huggingface_hub.hf_hub_download(repository, name, revision=revision))
    except errors.LocalEntryNotFoundError as error:
        raise HubError(
            f"{given}: {name} is not in the cache, and the Hub cannot be reached",
            expected="a network once",
            hint=f"fetch {name} elsewhere and --weights FILE",
        ) from error
    except errors.EntryNotFoundError:
        return None
    except errors.RevisionNotFoundError as error:
        raise HubError(f"{given}: no such revision", expected="a branch, a tag or a commit") from error
    except errors.GatedRepoError as error:
        raise HubError(
            f"{given} asks for an agreement first",
            hint=f"agree at https://huggingface.co/{repository}, then hf auth login",
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise HubError(f"{given} does not exist, or is private", hint="for a private one: hf auth login") from error
    except Exception as error:  # its transports, of which it has several, have error types of their own
        raise HubError(f"{given}: {name} could not be fetched: {_first_line(error)}") from error


def _verify(path: Path) -> str:
    """The SHA-256, after a check against the name of the blob, which is the content's SHA-256 or git's SHA-1."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    promised = Path(os.readlink(path)).name if path.is_symlink() else ""
    if re.fullmatch(r"[0-9a-f]{64}", promised):
        given = sha256
    elif re.fullmatch(r"[0-9a-f]{40}", promised):
        content = path.read_bytes()  # small: large files of the Hub have a SHA-256
        given = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    else:  # a cache without links, as on Windows, keeps no names
        return sha256
    if given != promised:
        raise HubError(
            f"{path} has changed since it was fetched: hash {given}", expected=promised, hint="remove it and try again"
        )
    return sha256


def _read(path: Path, name: str) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise HubError(f"{CONFIG_FILE} of {name} is no JSON: {error}") from error
    if not isinstance(config, dict) or not isinstance(config.get("pretrained_cfg", {}), dict):
        raise HubError(f"{CONFIG_FILE} of {name} is no table", expected="what timm writes")
    return config


def _row(config: dict[str, Any], spec: ModelSpec, *, name: str, url: str, path: Path, sha256: str) -> Weights:
    # timm keeps the facts of the weights in pretrained_cfg; its first releases kept them one level up
    facts = config | config.get("pretrained_cfg", {})
    facts |= {"num_classes": config["num_classes"]} if "num_classes" in config else {}

    def get(key: str, default: Any, expected: str, fits: Callable[[Any], bool]) -> Any:
        if key not in facts:
            return default
        if not fits(facts[key]):
            raise HubError(f"{CONFIG_FILE} of {name} has {key} = {facts[key]!r}", expected=expected)
        return facts[key]

    side = spec.input_size
    classes = get("num_classes", spec.num_classes, "a whole number above 0", lambda n: type(n) is int and n > 0)
    licence = get("license", f"as stated at {url}", "a name", lambda text: isinstance(text, str))
    return Weights(
        num_classes=classes,
        input_size=get("input_size", (3, side, side), "[3, side, side]", _is_square)[-1],
        labels=spec.labels if classes == spec.num_classes else "",
        data="",
        licence=licence,
        accuracy={},
        url=url,
        sha256=sha256,
        bytes=path.stat().st_size,
        mean=tuple(get("mean", spec.mean, "three numbers", _are_colours)),
        std=tuple(get("std", spec.std, "three numbers above 0", lambda std: _are_colours(std) and min(std) > 0)),
        interpolation=get("interpolation", spec.interpolation, ", ".join(INTERPOLATIONS), INTERPOLATIONS.__contains__),
        crop_fraction=get(
            "crop_pct", spec.crop_fraction, "more than 0, at most 1", lambda p: _is_number(p) and 0 < p <= 1
        ),
    )


def _labels(config: dict[str, Any], classes: int) -> tuple[str, ...]:
    names = config.get("label_names")
    if not isinstance(names, list) or len(names) != classes or not all(isinstance(name, str) for name in names):
        return ()
    described = config.get("label_descriptions")
    return tuple(str(described.get(name, name)) if isinstance(described, dict) else name for name in names)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _are_colours(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 3 and all(_is_number(item) for item in value)


def _is_square(value: Any) -> bool:
    sides = isinstance(value, list | tuple) and len(value) == 3 and all(type(side) is int for side in value)
    return sides and value[0] == 3 and value[1] == value[2] > 0


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
