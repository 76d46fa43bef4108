"""The report of a bundle: one self-contained HTML page."""

from sdk.report.page import write_report

__all__ = ["write_report"]
