"""Quantises a captured program once, for every target."""
