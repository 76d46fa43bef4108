"""Says what a camera or a clip shows, live: python apps/classify_live.py my.bundle camera:0 (or clip.mp4)."""

import argparse
import sys

import runtime_py
from runtime_py import MjpegServer, Smoothing


def main() -> int:
    """Print a line whenever the likeliest class changes, and what was counted at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", help="a classifier's bundle")
    parser.add_argument("source", help="camera:0, picamera, rtsp://..., clip.mp4, photo.jpg or a folder")
    parser.add_argument(
        "--half-life", type=float, default=0.5, help="seconds until a new answer has half of the weight"
    )
    parser.add_argument("--port", type=int, help="show the picture on http://127.0.0.1:PORT/")
    options = parser.parse_args()
    try:
        watch(options)
    except runtime_py.SdkError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print()
    return 0


def watch(options: argparse.Namespace) -> None:
    """Answer frame by frame, until the source ends or Ctrl-C is pressed."""
    smooth = Smoothing(options.half_life)
    page = None if options.port is None else MjpegServer(port=options.port)
    shown = ""
    with runtime_py.load(options.bundle) as session, runtime_py.stream(options.source, session) as answers:
        if page is not None:
            print(f"watch {page.url}", flush=True)
        for frame, found in answers:
            smoothed = smooth(found, frame.time_s)
            if page is not None:
                page.write(frame, smoothed)
            if smoothed.label != shown:
                shown = smoothed.label
                print(f"{frame.time_s:8.2f} s  {shown}  {smoothed.score:.0%}", flush=True)
        stats = answers.stats
    if page is not None:
        page.close()
    print(f"{stats.answered} frames at {stats.fps:.0f} a second, {stats.dropped} dropped")


if __name__ == "__main__":
    sys.exit(main())
