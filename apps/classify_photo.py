"""Says what is on photos, with a bundle: python apps/classify_photo.py my.bundle photo.jpg [photo.jpg ...]."""

import argparse
import sys
import time

import runtime_py


def main() -> int:
    """Print the five likeliest classes of each photo, and how long it took; 1 where a photo failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle")
    parser.add_argument("photos", nargs="+")
    parser.add_argument("--target", help="which artifact; the best that runs here by default")
    parser.add_argument("--threads", type=int, help="threads of the runtime")
    options = parser.parse_args()
    failed = False
    try:
        with runtime_py.load(options.bundle, options.target, options.threads) as session:
            for photo in options.photos:
                failed |= not answer(session, photo)
    except runtime_py.SdkError as error:
        sys.exit(f"error: {error}")
    return int(failed)


def answer(session: runtime_py.Session, photo: str) -> bool:
    """Print one photo's answer, or why there is none; returns whether there was one."""
    started = time.perf_counter()
    try:
        best = session(photo).top(5)
    except runtime_py.SdkError as error:
        print(f"{photo}: {error}", file=sys.stderr)
        return False
    print(f"{photo}  ({session.target}, {(time.perf_counter() - started) * 1e3:.1f} ms)")
    print("\n".join(f"  {row.score:6.1%}  {row.name}" for row in best))
    return True


if __name__ == "__main__":
    sys.exit(main())
