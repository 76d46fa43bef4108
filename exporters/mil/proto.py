"""Core ML's protobuf classes, taken from the installed coremltools without importing coremltools itself.

`import coremltools` registers its whole converter and takes seconds; its `proto` folder holds generated files
that need protobuf only, so they are imported as a package of their own.
"""

import importlib
import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

from runtime_py.errors import missing_extra

PACKAGE = "exporters_mil_coreml_proto"


@cache
def model_messages() -> ModuleType:
    """The generated module `Model_pb2`.

    Raises `MissingExtra` when coremltools is not installed.
    """
    spec = importlib.util.find_spec("coremltools")
    if spec is None or not spec.submodule_search_locations:
        raise missing_extra("coremltools", "coreml", "reading a Core ML package")
    package = ModuleType(PACKAGE)
    package.__path__ = [str(Path(spec.submodule_search_locations[0], "proto"))]
    sys.modules[PACKAGE] = package
    return importlib.import_module(f"{PACKAGE}.Model_pb2")
