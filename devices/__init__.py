"""Boards: what they are, how to reach them, and how to measure on them."""
