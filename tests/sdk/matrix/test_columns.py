"""One network a family has a row of integers; all have one of the others."""

from models_zoo import MODELS
from sdk.matrix.cells import Matrix
from sdk.matrix.columns import HINTS, has_row, smallest
from sdk.matrix.runner import open_tasks


def test_each_family_has_one_network_and_none_has_fewer_parameters() -> None:
    families = {spec.factory for spec in MODELS.values()}
    assert sorted(MODELS[name].factory for name in smallest()) == sorted(families)
    for name in smallest():
        family = [spec for spec in MODELS.values() if spec.factory == MODELS[name].factory]
        assert MODELS[name].params == min(spec.params for spec in family)


def test_only_measured_ranges_leave_networks_out() -> None:
    for precision in ("fp32", "fp16", "w8", "w4"):
        assert all(has_row(precision, name) for name in MODELS)
    for precision in ("w8a8", "mixed"):
        assert [name for name in MODELS if has_row(precision, name)] == list(smallest())


def test_hints_are_for_families_that_exist() -> None:
    assert set(HINTS) <= {spec.factory for spec in MODELS.values()}


def test_networks_without_a_row_are_not_tried() -> None:
    matrix = Matrix(versions={})
    tasks = open_tasks(matrix, ["ghostnet_050", "ghostnet_100"], ["fp32", "w8a8"], ["onnx"])
    assert tasks == [
        ("ghostnet_050", "fp32", ("onnx",)),
        ("ghostnet_100", "fp32", ("onnx",)),
        ("ghostnet_050", "w8a8", ("onnx",)),
    ]
