"""A Raspberry Pi without one: Debian's arm64 userland, run by QEMU's user mode inside of proot.

No root rights and no kernel support are needed. It shows function, instruction sets and memory; its times mean nothing.
The root is built once (some 30 s) into a cache outside of the checkout, with numpy, msgspec, Pillow, cryptography,
LiteRT, ONNX Runtime and OpenVINO as the lock file pins them; the project itself is installed from its wheel each time.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

PROJECT = Path(__file__).parents[2]
TOOLS = ("mmdebstrap", "qemu-aarch64-static", "proot")
DEBIAN = "bash coreutils dash libc-bin python3 tar gzip sed grep findutils procps libgomp1 libstdc++6"
PACKAGES = (
    "numpy", "msgspec", "pillow", "cryptography", "cffi", "pycparser",
    "ai-edge-litert", "flatbuffers", "backports.strenum", "tqdm", "typing_extensions", "protobuf",
    "onnxruntime", "packaging", "openvino", "openvino-telemetry",
)  # fmt: skip
FOLDERS = ("sdk", "exporters", "runtime_py", "models_zoo", "devices")
GLIBC = (36, 35, 34, 31, 28, 27, 26, 24, 17)
SMALL = ("path-exclude=/usr/share/doc/*", "path-exclude=/usr/share/man/*", "path-exclude=/usr/share/locale/*")


@dataclass(frozen=True)
class Board:
    """What a kernel on that board says of its processor, and what QEMU calls it. Both must agree."""

    model: str
    cpu: str
    part: str
    mhz: int
    features: str = "fp asimd evtstrm crc32 cpuid"
    cores: int = 4

    @property
    def cpuinfo(self) -> str:
        """/proc/cpuinfo."""
        core = (
            f"BogoMIPS\t: 108.00\nFeatures\t: {self.features}\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
            f"CPU variant\t: 0x0\nCPU part\t: {self.part}\nCPU revision\t: 1\n"
        )
        return "".join(f"processor\t: {n}\n{core}\n" for n in range(self.cores)) + f"Model\t\t: {self.model}\n"


NEWER = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"
BOARDS = {
    "pi5": Board("Raspberry Pi 5 Model B Rev 1.0", "cortex-a76", "0xd0b", 2400, NEWER),
    "pi4": Board("Raspberry Pi 4 Model B Rev 1.4", "cortex-a72", "0xd08", 1800),
    "zero2": Board("Raspberry Pi Zero 2 W Rev 1.0", "cortex-a53", "0xd03", 1000),
}


def missing() -> str:
    """Why there can be no emulated Pi here; empty where there can."""
    if sys.platform != "linux":
        return "it takes Linux"
    lacking = [tool for tool in TOOLS if shutil.which(tool) is None]
    if lacking:
        return f"{', '.join(lacking)} not found: apt-get install mmdebstrap qemu-user-static proot"
    return "" if _mirror() or _place().is_dir() else "apt has no http mirror to build the root from"


def root() -> Path:
    """The root, built where it is not there yet. Processes wait for each other."""
    place = _place()
    place.parent.mkdir(parents=True, exist_ok=True)
    with (place.parent / ".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.is_dir():
            beside = place.with_name(f".{place.name}.{os.getpid()}")
            try:
                _build(beside)
                beside.rename(place)
            finally:
                shutil.rmtree(beside, ignore_errors=True)
    return place


def wheel(into: Path) -> Path:
    """The project's own wheel, built of a copy: setuptools would leave a build folder, and take old files from it."""
    copy = into / "project"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, copy)
    for name in FOLDERS:
        shutil.copytree(PROJECT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    _run([*pip, "-w", str(into), str(copy)])
    (made,) = into.glob("edge_sdk-*.whl")
    return made


def installed(made: Path, into: Path) -> Path:
    """A wheel of Python alone, unpacked for the emulated Python."""
    _run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-compile", "--target", str(into), str(made)])
    _compiled(into)
    return into


@dataclass(frozen=True)
class Pi:
    """A board to run commands on. `places` are folders of this machine and where the board sees them."""

    root: Path
    board: Board
    work: Path
    places: dict[str, str] = field(default_factory=dict)
    claims: str = ""
    """Another /proc/cpuinfo than the board's."""

    def command(self, *words: str) -> list[str]:
        """What runs `words` on the board."""
        text = self.claims or self.board.cpuinfo
        cpuinfo = self.work / f".cpuinfo.{hashlib.sha256(text.encode()).hexdigest()[:8]}"
        cpuinfo.write_text(text)
        binds = ["/proc", f"{cpuinfo}:/proc/cpuinfo", "/dev", "/sys/devices/system"]
        binds += [f"{here}:{there}" for here, there in self.places.items()]
        return [
            "proot", "-q", f"qemu-aarch64-static -cpu {self.board.cpu}", "-r", str(self.root),
            *(word for bind in binds for word in ("-b", bind)), "-w", "/", *words,
        ]  # fmt: skip

    @property
    def environment(self) -> dict[str, str]:
        """What the emulator and the board's Python need."""
        return {
            "PATH": f"{os.environ['PATH']}:/usr/bin:/bin", "PROOT_NO_SECCOMP": "1", "LANG": "C.UTF-8", "HOME": "/tmp",
            "PYTHONPATH": "/opt/sdk:/opt/site", "PYTHONDONTWRITEBYTECODE": "1", "EDGE_SDK_CACHE": "/tmp/cache",
            "OMP_NUM_THREADS": "2",
        }  # fmt: skip

    def run(self, *words: str, timeout: float = 300, data_mb: int | None = None) -> subprocess.CompletedProcess[str]:
        """Run it there; `data_mb` is the memory that each process may have, the emulator's own included."""
        limit = ["prlimit", f"--data={data_mb * 2**20}"] if data_mb else []
        return subprocess.run(
            [*limit, *self.command(*words)], env=self.environment, capture_output=True, text=True, timeout=timeout,
            check=False,
        )  # fmt: skip


@contextmanager
def pi(name: str, sdk: Path, work: Path, **places: str) -> Iterator[Pi]:
    """A board with the project at /opt/sdk and `work` at /board."""
    work.mkdir(parents=True, exist_ok=True)
    binds = {str(sdk): "/opt/sdk", str(work): "/board"}
    yield Pi(root(), BOARDS[name], work, binds | places)


def _place() -> Path:
    base = Path(os.environ.get("EDGE_SDK_TEST_CACHE") or Path.home() / ".cache" / "edge-sdk-tests")
    content = Path(__file__).read_bytes() + "".join(_pinned()).encode()
    return base / f"pi-{hashlib.sha256(content).hexdigest()[:12]}"


def _pinned() -> list[str]:
    lines = (PROJECT / "requirements.lock").read_text().splitlines()
    return [line for line in lines if line.split("==")[0].lower() in PACKAGES]


def _mirror() -> str:
    """Where apt of this machine gets Debian or Ubuntu from; the root is always Debian's."""
    folder = Path("/etc/apt")
    places = [folder / "sources.list", *sorted(folder.glob("sources.list.d/*"))]
    for path in (place for place in places if place.suffix in (".list", ".sources")):
        text = path.read_text(errors="replace") if path.is_file() else ""
        found = re.search(r"^(?:URIs:|deb)\s.*?(https?://\S*debian\S*)", text, re.MULTILINE)
        if found and "security" not in found[1]:
            return found[1]
    return ""


def _build(place: Path) -> None:
    _run([
        "mmdebstrap", "--mode=root" if os.geteuid() == 0 else "--mode=unshare", "--variant=extract",
        "--architectures=arm64", "--skip=check/qemu", "--aptopt=Acquire::Languages \"none\"",
        *(f"--dpkgopt={line}" for line in SMALL), f"--include={DEBIAN.replace(' ', ',')}",
        "bookworm", str(place), _mirror(),
    ])  # fmt: skip
    for name in ("proc", "dev", "tmp", "root", "sys/devices/system", "opt/sdk", "opt/site", "board"):
        (place / name).mkdir(parents=True, exist_ok=True)
    (place / "tmp").chmod(0o1777)
    for name, line in {"passwd": "root:x:0:0:root:/root:/bin/bash\npi:x:1000:1000::/home/pi:/bin/bash\n",
                       "group": "root:x:0:\npi:x:1000:\n"}.items():  # fmt: skip
        if not (place / "etc" / name).exists():
            (place / "etc" / name).write_text(line)
    for name in ("bin", "sbin", "lib"):
        if not (place / name).exists():
            (place / name).symlink_to(f"usr/{name}")
    platforms = [f"manylinux_2_{n}_aarch64" for n in GLIBC] + ["manylinux2014_aarch64", "linux_aarch64"]
    _run([
        sys.executable, "-m", "pip", "install", "-q", "--no-compile", "--no-deps", "--only-binary=:all:",
        "--target", str(place / "opt/site"), "--python-version", "3.11", "--implementation", "cp",
        *(word for abi in ("cp311", "abi3", "none") for word in ("--abi", abi)),
        *(word for platform in platforms for word in ("--platform", platform)), *_pinned(),
    ])  # fmt: skip
    _compiled(place / "opt/site")


def _compiled(folder: Path) -> None:
    """Bytecode made here, where it takes seconds: it is the same on every processor."""
    _run([sys.executable, "-m", "compileall", "-q", "-j", "2", str(folder)], check=False)


def _run(command: list[str], *, check: bool = True) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PIP_FIND_LINKS"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False, env=environment)
    if check and done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}:\n{done.stderr[-3000:]}")
