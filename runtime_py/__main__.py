"""What a device says of itself and of a bundle: python -m runtime_py info | verify BUNDLE | run BUNDLE IMAGE ..."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from runtime_py.errors import SdkError


def info() -> dict[str, Any]:
    """This machine, and which runtimes are installed."""
    from runtime_py.engines import ENGINES, available, version_of
    from runtime_py.host import probe

    runtimes = {
        name: {"title": row.title, "version": "" if available(name) else version_of(name), "why_not": available(name)}
        for name, row in ENGINES.items()
    }
    return {"version": _version(), "host": probe().to_dict(), "runtimes": runtimes}


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("edge-sdk")
    except PackageNotFoundError:
        return "a source folder"


def _print_info(found: dict[str, Any]) -> None:
    print(f"edge-sdk {found['version']}")
    for name, value in found["host"].items():
        print(f"  {name:17} {value}")
    for row in found["runtimes"].values():
        print(f"  {row['title']:17} {row['version'] or row['why_not']}")


def _print_verified(found: dict[str, Any]) -> None:
    print(f"{found['bundle']} on {found['device']}")
    print(f"{'target':11} {'precision':9} {'status':9} {'SQNR dB':>8} {'p50 ms':>9} {'peak MB':>8}  runtime")
    for row in found["rows"]:
        numbers = [f"{row[name]:{width}.1f}" if row.get(name) is not None else f"{'–':>{width}}"
                   for name, width in (("sqnr_db", 8), ("p50_ms", 9), ("peak_rss_mb", 8))]  # fmt: skip
        print(f"{row['target']:11} {row['precision']:9} {row['status']:9} {' '.join(numbers)}  {row['runtime']}")
    for row in found["rows"]:
        if row["why"]:
            print(f"{row['target']}: {row['why']}")


def _run(bundle: str, target: str | None, images: list[str]) -> None:
    from runtime_py.session import load

    with load(bundle, target) as session:
        print(session.why)
        for image in images:
            print(f"{image}: {session(image)}")


def main() -> int:
    """0; 1 where something failed, or nothing could be run."""
    parser = argparse.ArgumentParser(prog="python -m runtime_py", description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    about = kinds.add_parser("info", help="this machine and its runtimes")
    proven = kinds.add_parser(
        "verify", help="hash every file, then run the golden inputs in every runtime that is here"
    )
    proven.add_argument("bundle")
    proven.add_argument("--threads", type=int)
    proven.add_argument("--key", help="a public key, or a file of them, that must have signed it")
    for one in (about, proven):
        one.add_argument("--json", action="store_true", dest="as_json")
    answered = kinds.add_parser("run", help="answer images")
    answered.add_argument("bundle")
    answered.add_argument("images", nargs="+")
    answered.add_argument("--target")
    options = parser.parse_args()
    try:
        if options.kind == "run":
            _run(options.bundle, options.target, options.images)
            return 0
        if options.kind == "info":
            found = info()
            print(json.dumps(found)) if options.as_json else _print_info(found)
            return 0
        from runtime_py.proving import verify

        found = verify(Path(options.bundle), options.threads, options.key)
        print(json.dumps(found)) if options.as_json else _print_verified(found)
        return 0 if found["ok"] else 1
    except SdkError as error:
        print(json.dumps({"error": error.to_dict()}) if getattr(options, "as_json", False) else f"error: {error}",
              file=sys.stdout if getattr(options, "as_json", False) else sys.stderr)  # fmt: skip
        return 1


if __name__ == "__main__":
    sys.exit(main())
