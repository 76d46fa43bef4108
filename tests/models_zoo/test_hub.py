"""Weights of the Hub: the real client against a small hub on this machine, then what may go wrong."""

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save, save_file

from models_zoo import MODELS, create_model
from models_zoo.hub import HubError, hub_weights
from models_zoo.registry import Weights
from models_zoo.weights import WeightsError, find_weights, labels_of
from runtime_py.errors import MissingExtra

huggingface_hub = pytest.importorskip("huggingface_hub", reason="the extra `hub` is not installed")

SPEC = MODELS["mobilenetv4_conv_small"]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONFIG = {  # the keys are those of timm's own config.json
    "architecture": "mobilenetv4_conv_small",
    "num_classes": 3,
    "label_names": ["n1", "n2", "n3"],
    "label_descriptions": {"n1": "cat", "n2": "dog"},
    "pretrained_cfg": {
        "input_size": [3, 160, 160],
        "mean": [0.5, 0.4, 0.3],
        "std": [0.2, 0.3, 0.4],
        "interpolation": "bilinear",
        "crop_pct": 0.9,
        "license": "apache-2.0",
        "num_classes": 1000,
    },
}


class Hub(http.server.BaseHTTPRequestHandler):
    """Repositories at /owner/name/resolve/REVISION/FILE, with the headers that the client relies on."""

    files: dict[str, bytes]

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        content = self.files.get(name)
        self.send_response(200 if content is not None else 404)
        self.send_header("X-Repo-Commit", COMMIT)
        if content is None:
            self.send_header("X-Error-Code", "EntryNotFound")
            content = b""
        elif name.endswith(".safetensors"):
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        else:
            blob = b"blob %d\0" % len(content) + content
            self.send_header("ETag", f'"{hashlib.sha1(blob).hexdigest()}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


PROGRAM = """
import dataclasses, json, sys
from models_zoo import MODELS
from models_zoo.hub import hub_weights
from runtime_py.errors import SdkError
try:
    found = hub_weights(sys.argv[1], MODELS["mobilenetv4_conv_small"])
    print(json.dumps({"path": str(found.path), "labels": found.labels, "row": dataclasses.asdict(found.row)}))
except SdkError as error:
    print(json.dumps(error.to_dict()))
"""


class Client:
    """Runs the real huggingface_hub in a process of its own: it reads its settings once, when it is imported."""

    def __init__(self, endpoint: str, home: Path, repository: Path) -> None:
        own = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1"}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
        self.environment, self.repository = kept | own, repository

    def get(self, name: str) -> dict[str, Any]:
        command = [sys.executable, "-c", PROGRAM, name]
        run = subprocess.run(
            command, cwd=self.repository, env=self.environment, capture_output=True, text=True, timeout=120
        )
        assert run.returncode == 0, run.stderr
        answer: dict[str, Any] = json.loads(run.stdout)
        return answer


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[http.server.ThreadingHTTPServer]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_the_real_client_fetches_once_and_needs_no_network_again(
    hub: http.server.ThreadingHTTPServer, tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = save({"classifier.bias": torch.zeros(3)})
    monkeypatch.setattr(
        Hub, "files", {"model.safetensors": weights, "config.json": json.dumps(CONFIG).encode()}, raising=False
    )
    client = Client(f"http://127.0.0.1:{hub.server_port}", tmp_path, repository)
    first = client.get("hf:owner/name")
    assert Path(first["path"]).read_bytes() == weights
    assert first["labels"] == ["cat", "dog", "n3"]
    assert first["row"]["sha256"] == hashlib.sha256(weights).hexdigest()
    assert first["row"]["url"].endswith(f"/owner/name/tree/{COMMIT}")
    assert first["row"]["licence"] == "apache-2.0"
    monkeypatch.setattr(Hub, "files", {})
    assert client.get("hf:owner/name") == first
    assert client.get(f"hf:owner/name@{COMMIT}") == first
    assert client.get("hf:owner/other")["given"] == "hf:owner/other has no model.safetensors"
    Path(first["path"]).write_bytes(weights[::-1])
    assert "has changed since it was fetched" in client.get("hf:owner/name")["given"]


def test_the_real_client_without_network(tmp_path: Path, repository: Path) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), Hub) as gone:
        endpoint = f"http://127.0.0.1:{gone.server_port}"
    client = Client(endpoint, tmp_path, repository)
    client.environment["HF_HUB_OFFLINE"] = "1"  # or the client itself would wait for minutes
    error = client.get("hf:owner/name")
    assert "the Hub cannot be reached" in error["given"]
    assert "--weights FILE" in error["hint"]


@pytest.fixture
def repository_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A way to fill the Hub's cache, which is then asked for no network."""

    def fill(weights: dict[str, torch.Tensor], config: object) -> None:
        folder = tmp_path / "snapshots" / COMMIT
        folder.mkdir(parents=True)
        save_file(weights, folder / "model.safetensors")
        if config is not None:
            (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))

        def cached(_: str, name: str, revision: str) -> object:
            assert revision in ("main", COMMIT)
            return str(folder / name) if (folder / name).exists() else huggingface_hub.file_download._CACHED_NO_EXIST

        monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", cached)

    return fill


def row_of(name: str = "hf:owner/name") -> Weights:
    return hub_weights(name, SPEC).row


def test_what_timm_states_is_taken(repository_of: Any) -> None:
    repository_of({"classifier.bias": torch.zeros(3)}, CONFIG)
    row = row_of()
    assert (row.num_classes, row.input_size, row.interpolation, row.crop_fraction) == (3, 160, "bilinear", 0.9)
    assert (row.mean, row.std) == ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    assert labels_of(row) == ("class 0", "class 1", "class 2")


def test_the_older_flat_config_is_read_too(repository_of: Any) -> None:
    repository_of({"classifier.bias": torch.zeros(7)}, {"num_classes": 7, "input_size": [3, 96, 96], "crop_pct": 1})
    assert (row_of().num_classes, row_of().input_size, row_of().crop_fraction) == (7, 96, 1)


def test_what_nobody_states_is_the_architecture_s(repository_of: Any) -> None:
    repository_of({"classifier.bias": torch.zeros(1000)}, None)
    row = row_of()
    assert (row.mean, row.std, row.input_size) == (SPEC.mean, SPEC.std, SPEC.input_size)
    assert (row.interpolation, row.crop_fraction, row.labels) == (SPEC.interpolation, SPEC.crop_fraction, SPEC.labels)
    assert "huggingface.co/owner/name" in row.licence


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"mean": [0.5, 0.5]}, "mean = [0.5, 0.5]"),
        ({"mean": ["a", 0, 0]}, "mean"),
        ({"mean": [0, 0, float("nan")]}, "mean"),
        ({"std": [0.0, 1, 1]}, "std"),
        ({"crop_pct": 0}, "crop_pct = 0"),
        ({"crop_pct": True}, "crop_pct"),
        ({"input_size": [1, 28, 28]}, "input_size"),
        ({"input_size": [3, 224, 192]}, "input_size"),
        ({"interpolation": "lanczos"}, "interpolation = 'lanczos'"),
        ({"interpolation": ["bicubic"]}, "interpolation"),
        ({"num_classes": 0}, "num_classes = 0"),
        ({"license": 3}, "license"),
    ],
)
def test_nonsense_is_named_with_its_key(facts: dict[str, object], said: str, repository_of: Any) -> None:
    repository_of({"classifier.bias": torch.zeros(3)}, {"pretrained_cfg": facts})
    with pytest.raises(HubError) as caught:
        row_of()
    assert said in caught.value.given
    assert caught.value.expected


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"pretrained_cfg": 1}', "[" * 100_000])
def test_a_config_that_is_no_table_is_refused(text: str, repository_of: Any) -> None:
    repository_of({"classifier.bias": torch.zeros(3)}, text)
    with pytest.raises(HubError, match=r"config\.json of hf:owner/name"):
        row_of()


@pytest.mark.parametrize("name", ["hf:", "hf:name", "hf:a/b/c", "hf:a/b@", "hf:a/b c"])
def test_a_name_that_the_hub_cannot_have_is_refused(name: str) -> None:
    with pytest.raises(HubError, match="weights"):
        row_of(name)


def test_without_the_client_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtra) as caught:
        row_of()
    assert "edge-sdk[hub]" in caught.value.hint


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("RepositoryNotFoundError", "does not exist, or is private"),
        ("GatedRepoError", "asks for an agreement"),
        ("RevisionNotFoundError", "no such revision"),
        ("XetDownloadError", "model.safetensors could not be fetched: "),
    ],
)
def test_each_refusal_of_the_hub_has_its_words(kind: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    error = getattr(huggingface_hub.errors, kind)

    def refuse(*_: object, **__: object) -> str:
        raise error.__new__(error, "the server said so")  # their constructors differ from version to version

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    with pytest.raises(HubError) as caught:
        row_of("hf:owner/name@v2")
    assert caught.value.given.startswith("hf:owner/name@v2")
    assert said in caught.value.given


def test_a_network_of_the_zoo_takes_the_hub_s_weights(repository_of: Any) -> None:
    torch.manual_seed(0)
    state = create_model(SPEC.name, num_classes=3).state_dict()
    repository_of(state, CONFIG)
    found = find_weights(SPEC, "hf:owner/name")
    assert (found.num_classes, found.labels) == (3, ("cat", "dog", "n3"))
    loaded = create_model(SPEC.name, "hf:owner/name").state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())


def test_weights_and_config_that_disagree_are_refused(repository_of: Any) -> None:
    repository_of({"classifier.bias": torch.zeros(5)}, CONFIG)
    with pytest.raises(WeightsError, match="states 3 classes; its weights have 5"):
        find_weights(SPEC, "hf:owner/name")
