"""Core ML's intermediate language (MIL): reads a saved `.mlpackage` and runs its program on any machine."""
