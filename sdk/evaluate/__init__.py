"""The task's own metric of every artifact, in its own runtime, beside PyTorch's."""
