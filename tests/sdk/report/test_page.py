import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from PIL import Image

from runtime_py.manifest import Manifest, Tensor
from sdk.report import write_report
from sdk.report.page import render

HOSTILE = "\"><script>alert('x')</script><img src=http://example.com/x.png onerror=alert(1)>"
VOID = {"meta", "link", "img", "input", "br"}
Top5 = dict[str, list[tuple[str, float]]]


class Page(HTMLParser):
    """Elements and attributes as a browser's parser sees them; refuses tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def photo() -> Image.Image:
    return Image.new("RGB", (900, 600), (200, 120, 40))


def test_page_says_what_the_manifest_says(manifest: Manifest, top5: Top5) -> None:
    text = " ".join(" ".join(Page(render(manifest, photo(), top5)).text).split())
    for words in ("mobilenetv4_conv_small", "2,747,624", "Core ML", "LiteRT", "OpenVINO", "ONNX", "4 /5"):
        assert words in text
    for words in ("XNNPACK has no aten.conv3d", "net.py:41: x = self.mix(x)", "unsupported-operator"):
        assert words in text
    assert "10.8 MB" in text
    assert "184,725,568 " in text
    assert "73.8%" in text
    assert "119.8" in text
    assert "130/132" in text
    assert all(artifact.sha256 in text for artifact in manifest.artifacts)


def test_hostile_names_stay_text(manifest: Manifest, top5: Top5) -> None:
    artifacts = tuple(msgspec.structs.replace(a, reason=HOSTILE) for a in manifest.artifacts)
    failures = tuple(msgspec.structs.replace(f, error={"given": HOSTILE}) for f in manifest.failures)
    hostile = msgspec.structs.replace(
        manifest,
        model=HOSTILE,
        licence=HOSTILE,
        inputs=(Tensor(name=HOSTILE, shape=(1, 3, 128, 128)),),
        artifacts=artifacts,
        failures=failures,
        host={HOSTILE: HOSTILE},
    )
    page = Page(render(hostile, None, {"pytorch": [(HOSTILE, 0.5)], HOSTILE: [(HOSTILE, 0.4)]}))
    assert not [tag for tag, _ in page.elements if tag == "script"]
    assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on")]
    assert not [tag for tag, _ in page.elements if tag == "img"]
    assert any("<script>" in text for text in page.text)


def test_no_reference_leaves_the_page(manifest: Manifest, top5: Top5) -> None:
    html = render(manifest, photo(), top5)
    page = Page(html)
    targets = [attrs[name] or "" for _, attrs in page.elements for name in ("src", "href", "action") if name in attrs]
    assert targets
    assert all(target.startswith(("data:", "#")) for target in targets)
    styles = [attrs["style"] or "" for _, attrs in page.elements if "style" in attrs]
    sheet = html[html.index("<style>") : html.index("</style>")]
    assert not re.search(r"url\(|@import|//", " ".join([sheet, *styles]))
    assert not [tag for tag, attrs in page.elements if attrs.get("http-equiv") == "refresh"]
    policy = next(a["content"] for t, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def test_photo_is_made_small(manifest: Manifest, top5: Top5) -> None:
    import base64
    import io

    page = Page(render(manifest, photo(), top5))
    source = next(attrs["src"] for tag, attrs in page.elements if tag == "img") or ""
    embedded = Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))
    assert (embedded.format, embedded.size) == ("JPEG", (512, 341))


def test_differences_are_marked(manifest: Manifest, top5: Top5) -> None:
    page = Page(render(manifest, None, top5))
    classes = [attrs.get("class") or "" for tag, attrs in page.elements if tag == "article"]
    assert [kind for kind in classes if kind.startswith("card")].count("card differs") == 1
    assert sum(tag == "li" and attrs.get("class") == "differs" for tag, attrs in page.elements) == 2
    assert "another first answer" in page.text


def test_raw_task_without_a_photo(manifest: Manifest) -> None:
    raw = msgspec.structs.replace(
        manifest,
        task="raw",
        preprocessing=None,
        postprocessing=None,
        inputs=(Tensor(name="tokens", shape=(2, 77), dtype="int64"),),
        outputs=(Tensor(name="mask", shape=(1, 96, 64)), Tensor(name="score", shape=(1,))),
    )
    page = Page(render(raw, None, {}))
    text = "".join(page.text)
    assert "One photo" not in text
    assert '"tokens": np.zeros((2, 77), np.int64),' in text
    assert 'print(outputs["score"].shape)  # (1,)' in text
    assert "val input0 = buffer(1232)" in text  # 2 * 77 * 8 bytes
    assert not [tag for tag, _ in page.elements if tag == "img"]


def test_devices_without_a_file_say_which_export_makes_it(manifest: Manifest) -> None:
    lacking = msgspec.structs.replace(manifest, artifacts=tuple(a for a in manifest.artifacts if a.target != "coreml"))
    text = "".join(Page(render(lacking, None, {})).text)
    assert "sdk export mobilenetv4_conv_small --target coreml" in text
    assert "MLModel(contentsOf" not in text


def test_python_snippet_compiles(manifest: Manifest) -> None:
    from sdk.report.devices import guides

    raw = msgspec.structs.replace(manifest, preprocessing=None, model='odd "name"\\')
    for kind in (manifest, raw):
        block = next(block for block in guides(kind)[0].blocks if "import runtime_py" in block)
        compile(block, "snippet", "exec")


def test_written_beside_and_renamed(manifest: Manifest, top5: Top5, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report(manifest, path, photo(), top5)
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]
    assert path.read_text(encoding="utf-8") == render(manifest, photo(), top5)


def test_a_failed_write_leaves_the_old_report(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")

    def full_disk(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_report(manifest, path, None, {})
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]
    assert path.read_text() == "old"
