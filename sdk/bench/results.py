"""What becomes of a cell: a row, or the reason why there is none."""

from typing import Literal

import msgspec

from runtime_py.manifest import ProfileRow, Status
from sdk.bench.plan import Cell

Outcome = Literal["measured", "invalid", "absent", "refused", "failed"]
"""`invalid`: measured, and disturbed. `absent`: this device or target has not what it takes, and nothing is wrong.
`refused`: the SDK would not make the file, as it would answer unlike the network. `failed`: it should have worked."""


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """The file that a cell is about, as its export proved it."""

    sha256: str
    bytes: int
    status: Status
    sqnr_db: float | None = None
    weights: str = ""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One cell of a run. `subject` is the hash of what determined its file, `attempts` how often it was measured.

    `row` is there where `outcome` is measured or invalid; `why` and `hint` where it is not measured.
    """

    network: str
    precision: str
    target: str
    threads: int
    device: str
    address: str
    subject: str
    outcome: Outcome
    why: str = ""
    hint: str = ""
    attempts: int = 0
    made: Made | None = None
    row: ProfileRow | None = None
    created: str = ""

    @property
    def cell(self) -> Cell:
        """Its names."""
        return Cell(self.network, self.precision, self.target, self.threads, self.device)
