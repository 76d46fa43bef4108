"""Puts the page together: what the manifest says, as the template needs it."""

import base64
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exporters import TARGETS
from runtime_py.manifest import Artifact, Manifest
from sdk.report import words
from sdk.report.answers import Top5, side_by_side
from sdk.report.devices import guides
from sdk.report.microcontroller import STYLE as MICROCONTROLLER_STYLE
from sdk.report.microcontroller import flash_of, on_board
from sdk.report.operators import STYLE as OPERATORS_STYLE
from sdk.report.plot import plot_sqnr
from sdk.report.profiles import STYLE as PROFILES_STYLE
from sdk.report.profiles import on_devices
from sdk.report.quantization import STYLE as QUANTIZATION_STYLE
from sdk.report.quantization import quantised

if TYPE_CHECKING:
    from PIL.Image import Image

HERE = Path(__file__).parent
PHOTO_SIDE = 512
ERROR_FIELDS = {
    "given": "what happened",
    "expected": "expected",
    "operator": "operator",
    "source": "source line",
    "module": "module",
    "hint": "way out",
    "way_out": "way out",
}


def write_report(manifest: Manifest, path: Path, photo: "Image | None", top5: Top5) -> None:
    """Writes the page to `path`, beside its name and renamed.

    `top5` holds `pytorch` and each target's (label, score) pairs, best first, scores as shares of 1; it and
    `photo` are empty for a network that does not classify.
    """
    page = render(manifest, photo, top5)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(page, encoding="utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def render(manifest: Manifest, photo: "Image | None", top5: Top5) -> str:
    """The page as text."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["words"] = words
    context = _context(manifest, top5)
    sheets = [HERE / "report.css"]
    sheets += [QUANTIZATION_STYLE] if context["quantised"] else []
    sheets += [MICROCONTROLLER_STYLE] if context["board"] else []
    sheets += [PROFILES_STYLE] if context["devices"] else []
    sheets += [OPERATORS_STYLE] if any(device.layers for device in context["devices"]) else []
    style = Markup("".join(sheet.read_text(encoding="utf-8") for sheet in sheets))
    return environment.get_template("report.html.j2").render(
        style=style, photo=_data_uri(photo) if photo else "", **context
    )


def _context(manifest: Manifest, top5: Top5) -> dict[str, Any]:
    titles = {name: row.title for name, row in TARGETS.items()}
    titled = [(titles.get(a.target, a.target), a) for a in manifest.artifacts]
    return {
        "manifest": manifest,
        "titles": titles,
        "artifacts": titled,
        "asked": len(manifest.artifacts) + len(manifest.failures),
        "proven": sum(a.status in ("executed", "interpreted") for a in manifest.artifacts),
        "facts": _facts(manifest),
        "answers": side_by_side(top5, titles),
        "plot": plot_sqnr(titled),
        "quantised": quantised(manifest, titled),
        "delegated": [_delegation(title, a) for title, a in titled if a.status != "failed" and a.mcu is None],
        "board": on_board(manifest),
        "flash_of": flash_of,
        "devices": on_devices(manifest.profiles, titles),
        "error_fields": ERROR_FIELDS,
        "guides": guides(manifest),
        "tools": _tools(manifest),
    }


def _facts(manifest: Manifest) -> list[tuple[str, str]]:
    """The header's facts; what the manifest does not say is left out."""
    shapes = ", ".join(map(words.tensor, manifest.inputs))
    outputs = ", ".join(map(words.tensor, manifest.outputs))
    facts = {
        "weights": manifest.weights,
        "parameters": f"{manifest.parameters:,}" if manifest.parameters is not None else "",
        "input": shapes,
        "output": outputs,
        "captured from": {"zoo": "the zoo"}.get(manifest.source, manifest.source),
        "commit": manifest.source_commit[:12],
        "licence": manifest.licence,
        "exported": manifest.created.replace("T", " "),
    }
    published = {words.PUBLISHED.get(name, name): value for name, value in manifest.published.items()}
    facts |= {name: words.fact(name, value) for name, value in published.items()}
    return [(name, value) for name, value in facts.items() if value]


def _delegation(title: str, artifact: Artifact) -> dict[str, Any]:
    total, fast = artifact.operators_total, artifact.operators_delegated
    known = total is not None and fast is not None and total > 0
    return {
        "title": title,
        "artifact": artifact,
        "known": known,
        "share": 100 * fast / total if known and total and fast is not None else 0.0,
        "left": sorted(artifact.not_delegated.items(), key=lambda item: (-item[1], item[0])),
    }


def _tools(manifest: Manifest) -> list[tuple[str, str]]:
    tools = dict(manifest.tool_versions)
    for artifact in manifest.artifacts:
        tools |= artifact.tool_versions
    return sorted(tools.items())


def _data_uri(photo: "Image") -> str:
    from PIL import ImageOps

    small = ImageOps.exif_transpose(photo).convert("RGB")
    small.thumbnail((PHOTO_SIDE, PHOTO_SIDE))
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=88, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
