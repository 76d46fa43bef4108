"""Latency on a board that is not at hand, from operators of other networks, measured on one of its kind."""
