"""OpenVINO's IR without what its reader works out by itself: of a small quantised network, half was text.

`model.bin` holds each constant once. But `model.xml` has for every operator all its shapes, at both ends of every
edge, one element a dimension, indented; a node of its own for each bound of each quantisation; and names in three ways.
"""

from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

LARGEST_SHARED = 16
"""Elements: bounds, axes and shapes, whose nodes are longer than their values."""
PLAIN = frozenset({"f32", "i32", "i64"})


def simplify(model: Any) -> None:
    """Shape stored weights as their layers want them, keep equal small constants once, and shorten names, in place.

    `model` is an openvino.Model. Its inputs and outputs keep their names; a computed operator is called by the node of
    the captured program that it comes from, as `convolution_12`, so that profiles can still be read.
    """
    _shape_weights(model)
    _share_constants(model)
    model.validate_nodes_and_infer_types()
    _rename(model)


def shorten(path: Path) -> None:
    """Write a `model.xml` again without white space and shapes, but those of inputs and constants. It reads alike."""
    tree = ElementTree.parse(path)
    for element in tree.iter():
        if element.text is not None and not element.text.strip():
            element.text = None
        element.tail = None
        if element.tag == "port":
            element[:] = [child for child in element if child.tag != "dim"]
        elif element.tag == "data" and "shape" in element.attrib:
            element.set("shape", element.attrib["shape"].replace(" ", ""))
    text = ElementTree.tostring(tree.getroot(), encoding="unicode").replace(" />", "/>")  # '>' is escaped in values
    path.write_text(f'<?xml version="1.0"?>{text}', encoding="utf-8")


def _shape_weights(model: Any) -> None:
    """Of grouped convolutions.

    before: int8 weight (O, I, ...) -> Convert -> Multiply by scales (O, 1, ...) -> Reshape (G, O / G, I, ...)
    after:  int8 weight (G, O / G, I, ...) -> Convert -> Multiply by scales (G, O / G, 1, ...)
    """
    for reshape in model.get_ordered_ops():
        if reshape.get_type_name() != "Reshape":
            continue
        product = reshape.input_value(0).get_node()
        if product.get_type_name() != "Multiply" or len(product.output(0).get_target_inputs()) != 1:
            continue
        convert, scale = (product.input_value(place).get_node() for place in (0, 1))
        if [convert.get_type_name(), scale.get_type_name()] != ["Convert", "Constant"]:
            continue
        whole = convert.input_value(0).get_node()
        if whole.get_type_name() != "Constant" or whole.get_element_type().get_type_name() != "i8":
            continue
        old, new = list(whole.get_output_shape(0)), list(reshape.get_output_shape(0))
        channels = list(scale.get_output_shape(0))
        if channels != [old[0], *[1] * (len(old) - 1)] or old[0] != new[0] * new[1] or new[2:] != old[1:]:
            continue
        convert.input(0).replace_source_output(_constant(whole.data.reshape(new)))
        product.input(1).replace_source_output(_constant(scale.data.reshape([*new[:2], *[1] * len(new[2:])])))
        for reader in reshape.output(0).get_target_inputs():
            reader.replace_source_output(product.output(0))


def _constant(values: Any) -> Any:
    import openvino as ov

    return ov.op.Constant(ov.Tensor(values.copy()), shared_memory=False).output(0)


def _share_constants(model: Any) -> None:
    kept: dict[Any, Any] = {}
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Constant" or node.get_element_type().get_type_name() not in PLAIN:
            continue
        if node.data.size > LARGEST_SHARED:
            continue
        key = (node.get_element_type().get_type_name(), tuple(node.get_output_shape(0)), node.data.tobytes())
        same = kept.setdefault(key, node)
        if same is not node:
            for reader in node.output(0).get_target_inputs():
                reader.replace_source_output(same.output(0))


def _rename(model: Any) -> None:
    stored: set[str] = set()  # constants and what follows from them alone
    taken: Counter[str] = Counter()
    for number, node in enumerate(model.get_ordered_ops()):
        kind, name = node.get_type_name(), node.get_friendly_name()
        if kind in ("Parameter", "Result"):
            continue
        sources = [port.get_source_output().get_node().get_friendly_name() for port in node.inputs()]
        origin = name.partition("/")[0]
        if stored.issuperset(sources):
            short = str(number)
            stored.add(short)
        else:
            short = f"{origin}/{kind}" if origin in taken else origin
            taken[short] += 1
            if taken[short] > 1:
                short = f"{short}_{number}"
        node.set_friendly_name(short)
        for port in node.outputs():
            if not any(reader.get_node().get_type_name() == "Result" for reader in port.get_target_inputs()):
                port.get_tensor().set_names(set())
