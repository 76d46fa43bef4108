"""Counts who passes on a camera or a clip, with a live page: python apps/count_objects.py detector.bundle vtest.avi."""

import argparse
import sys
from contextlib import ExitStack

import runtime_py
from runtime_py import JsonLines, MjpegServer, Tracker, VideoFile
from runtime_py.draw import draw_answer


def main() -> int:
    """Follow objects until the source ends, Ctrl-C or SIGTERM, and print how many different ones there were."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", help="a detector's bundle")
    parser.add_argument("source", help="camera:0, picamera, rtsp://..., clip.mp4 or a folder of photos")
    parser.add_argument("--port", type=int, default=8000, help="of the page, on this machine only; 0 takes a free one")
    parser.add_argument("--only", nargs="+", metavar="CLASS", help="count these classes, such as: person car")
    parser.add_argument("--video", help="record what the page shows, as .mp4 or .mkv")
    parser.add_argument("--log", help="append every answer to this file, as JSON lines")
    parser.add_argument("--loop", action="store_true", help="begin a clip again when it ends")
    options = parser.parse_args()
    tracker = Tracker()
    try:
        watch(options, tracker)
    except runtime_py.SdkError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print()
    print("counted:", ", ".join(f"{count} {name}" for name, count in tracker.counts.most_common()) or "nothing")
    return 0


def watch(options: argparse.Namespace, tracker: Tracker) -> None:
    """Answer, track, draw and show, frame by frame."""
    with ExitStack() as stack:
        session = stack.enter_context(runtime_py.load(options.bundle))
        # the tracker wants unsure boxes as well: they may be someone half hidden
        answers = stack.enter_context(runtime_py.stream(options.source, session, loop=options.loop, confidence=0.1))
        page = stack.enter_context(
            MjpegServer(port=options.port, stats=lambda: {**tracker.counts, "fps": round(answers.fps, 1)})
        )
        video = stack.enter_context(VideoFile(options.video)) if options.video else None
        log = stack.enter_context(JsonLines(options.log)) if options.log else None
        print(f"watch {page.url}", flush=True)
        for frame, found in answers:
            tracked = tracker(found.of(options.only) if options.only else found, frame.time_s)
            picture = draw_answer(frame.image, tracked, f"{tracker.counts.total()} counted, {answers.fps:.0f} fps")
            page.write(frame, tracked, picture)
            if video:
                video.write(frame, tracked, picture)
            if log:
                log.write(frame, tracked)


if __name__ == "__main__":
    sys.exit(main())
