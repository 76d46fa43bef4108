"""What was quantised before is found again only where all that it was made from is the same."""

from pathlib import Path

import msgspec
import torch

from runtime_py.bundle import open_bundle
from runtime_py.manifest import Calibrated
from sdk.quantize.cache import key_of
from sdk.quantize.job import QuantizeJob
from tests.runtime_py.colours import make_bundle

SEEN = Calibrated(data="photos", count=10, sha256="0" * 64)


def test_names_of_outputs_are_part_of_the_key(tmp_path: Path) -> None:
    """The samples beside the program are stored by them, and labels change them."""
    program = torch.export.export(torch.nn.Linear(3, 2).eval(), (torch.zeros(1, 3),))
    own = open_bundle(make_bundle(tmp_path / "colours.bundle")).manifest
    job = QuantizeJob(program="float.pt2", manifest=own, precision="w8a8", folder="work", data="photos")
    (only,) = own.outputs
    renamed = msgspec.structs.replace(own, outputs=(msgspec.structs.replace(only, name="output"),))
    assert key_of(program, SEEN, job) == key_of(program, SEEN, job)
    assert key_of(program, SEEN, job) != key_of(program, SEEN, msgspec.structs.replace(job, manifest=renamed))
    assert key_of(program, SEEN, job) != key_of(program, SEEN, msgspec.structs.replace(job, precision="w8"))
