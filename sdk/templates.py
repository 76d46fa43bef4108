"""Jinja templates of pages in Markdown and drawings in SVG."""

from pathlib import Path
from typing import Any


def template(folder: Path, name: str) -> Any:
    """The template of that name in a folder; what goes into an SVG is escaped, and a value that is missing an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(folder),
        undefined=StrictUndefined,
        autoescape=name.endswith(".svg.j2"),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(name)
