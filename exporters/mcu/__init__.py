"""C for microcontrollers: a folder of C99 sources that runs one w8a8 network in static memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from exporters.base import Lowered, McuOptions, Options, Unsupported, tool_versions

if TYPE_CHECKING:
    from torch.export import ExportedProgram


class Microcontroller:
    """Writes model.c, its kernels and a test, proven against PyTorch's integers on this host and in emulated cores."""

    name = "mcu"
    suffix = "mcu/"

    def check(self, program: ExportedProgram) -> list[Unsupported]:
        """The operators that the generator lacks. Raises NotIntegers for a program that is not w8a8."""
        from exporters.mcu.reader import lacking

        return lacking(program)

    def lower(self, program: ExportedProgram, options: Options, path: Path) -> Lowered:
        """Write the folder. Nothing is written where an operator is lacking or a budget cannot be met.

        Raises NotIntegers, UnsupportedOperators, OverBudget, or HostDiffers where the C answers otherwise.
        """
        from exporters.mcu.proof import prove
        from exporters.mcu.reader import read
        from exporters.mcu.schedule import chosen
        from exporters.mcu.simulate import as_bytes, simulate
        from exporters.mcu.write import facts_of, write

        asked = options.mcu or McuOptions()
        network = read(program)
        schedule = chosen(network, asked)
        image = as_bytes(network, options.example)
        write(path, schedule, asked, image, simulate(network, image))
        emulations, why_not, versions = prove(path, max(schedule.arena, 16))
        return Lowered(
            inputs=options.input_names,
            outputs=options.output_names,
            operators_total=len(network.layers) - 1,
            operators_delegated=len(network.layers) - 1,
            not_delegated={},
            tool_versions=tool_versions() | versions,
            mcu=facts_of(schedule, emulations, why_not),
        )


exporter = Microcontroller()
