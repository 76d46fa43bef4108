"""Which of a Jetson's rails make its power: by label, never by number, and a total never with its parts."""

from collections.abc import Iterable

from devices.meters.samples import BadReading

TOTALS = ("VDD_IN", "POM_5V_IN")
"""Inputs of the whole module: Orin Nano, Orin NX and Xavier NX; Nano."""
AGX_ORIN = ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0")
"""No total there; these three do not overlap."""
PERIOD_S = 0.1


def unconnected(label: str) -> bool:
    """Whether the label is that of a channel without a wire, or of the chip's own sum of shunt voltages."""
    return "NC" in label.upper().split("_") or "sum of shunt" in label.lower()


def chosen(labels: Iterable[str]) -> tuple[str, ...]:
    """The labels to add up. Raises BadReading that names what is missing."""
    found = [label for label in labels if not unconnected(label)]
    for total in TOTALS:
        if total in found:
            return (total,)
    missing = [label for label in AGX_ORIN if label not in found]
    if not missing:
        return AGX_ORIN
    if len(missing) < len(AGX_ORIN):
        raise BadReading(f"missing rails: {', '.join(missing)}", expected=f"{', '.join(AGX_ORIN)}, as on an AGX Orin")
    raise BadReading(
        f"the rails {', '.join(found) or '(none)'} of this board are not known to make its power",
        expected=f"{' or '.join(TOTALS)}, or {', '.join(AGX_ORIN)}",
    )


def total_w(watts: dict[str, float], labels: tuple[str, ...]) -> float:
    """The sum of `labels`. Raises BadReading that names what is missing."""
    if missing := [label for label in labels if label not in watts]:
        raise BadReading(f"missing rails: {', '.join(missing)}")
    return sum(watts[label] for label in labels)


def rail_of(labels: tuple[str, ...]) -> str:
    """What the labels measure, in words."""
    if len(labels) == 1:
        return f"{labels[0]} (input of the whole module)"
    return " + ".join(labels) if labels else "Jetson rails"
