"""The learning rate of each step."""

import math


def learning_rate(step: int, steps: int, peak: float, warmup: float) -> float:
    """Linear from peak / w to peak over the first w = warmup x steps, then half a cosine down to 0."""
    warm = round(warmup * steps)
    if step < warm:
        return peak * (step + 1) / warm
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
