"""Demos for boards: they need runtime_py and devices, and nothing of the workstation."""
