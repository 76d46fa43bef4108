"""The zoo's networks as sources: their inputs, labels, weights and published figures."""

from pathlib import Path
from typing import TYPE_CHECKING

import models_zoo
from models_zoo.registry import ModelSpec, Weights
from sdk.source import Fetching, Source, SourceError, Wishes

if TYPE_CHECKING:
    from torch import nn


def zoo_source(spec: ModelSpec, wishes: Wishes, fetching: Fetching) -> Source:
    """A network of the zoo with the weights that were asked for, or else its own. Raises SourceError, WeightsError."""
    from models_zoo.weights import find_weights

    _shape(spec, spec.input_size, wishes)  # before anything is fetched
    name = wishes.weights or spec.default_weights
    found = find_weights(spec, name, progress=fetching.progress, notice=fetching.notice) if name else None
    row = found.row if found else None
    at: Weights | ModelSpec = row or spec
    shape = _shape(spec, at.input_size, wishes)
    network = models_zoo.create_model(spec.name, str(found.path) if found else None).eval()
    if found is None:
        settle(network, shape)
    published: dict[str, float | str] = {"params": spec.params, "macs": spec.macs, **spec.accuracy}
    if row:
        published |= {f"weights_{metric}": value for metric, value in row.accuracy.items()}
        published |= {"weights_data": row.data} if row.data else {}
    labels = wishes.labels
    if spec.classifier and not labels:
        classes = network.state_dict()[spec.classifier].shape[0]
        labels = (found.labels if found else ()) or _labels(spec, row, classes)
    return Source(
        network=network,
        shapes=(shape,),
        name=spec.name,
        kind="zoo",
        task=spec.task,
        weights=_shown(name, row) if name else "random",
        licence=row.licence if row else "",
        labels=labels,
        mean=wishes.mean or at.mean,
        std=wishes.std or at.std,
        resize_type=spec.resize_type,
        interpolation=at.interpolation,
        crop_fraction=at.crop_fraction,
        scale=spec.scale,
        causal=spec.causal,
        published=published | {"source": spec.source},
    )


def settle(network: "nn.Module", shape: tuple[int, ...]) -> None:
    """Give the norms of an untrained network statistics under which a rounding error stays as small as it began.

    Fresh norms let activations shrink or grow from layer to layer until half precision holds none of them. The
    batch's own statistics do worse: a channel that hardly varies is blown up to unit variance, and its error with it,
    1.5 dB a layer. So each norm divides by its whole layer's root mean square on noise, and shifts by a tenth of it;
    scales of residual branches, which start at almost nothing, are 1. None of this says anything of trained weights.
    """
    import torch
    from torch import Tensor, nn

    generator = torch.Generator().manual_seed(0)

    def measure(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        power = inputs[0].square().mean()
        norm.running_mean = 0.1 * power.sqrt() * torch.randn(inputs[0].shape[1], generator=generator)
        norm.running_var = power.expand(inputs[0].shape[1]).clone()

    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        return
    hooks = [norm.register_forward_pre_hook(measure) for norm in norms]
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(".gamma"):
                parameter.fill_(1.0)
        network(torch.randn((2, *shape[1:]), generator=generator))
    for hook in hooks:
        hook.remove()


def _shown(name: str, row: Weights | None) -> str:
    """What the bundle calls its weights: a tag or a hub's name as it is, a file or an address by its last part."""
    return name if row else Path(name.partition("#")[0]).name


def _shape(spec: ModelSpec, size: int, wishes: Wishes) -> tuple[int, ...]:
    """The input's shape with its batch of 1; refuses what the network cannot take, before anything is built."""
    if spec.task == "decode_video":
        return _latent(spec, wishes)
    if wishes.inputs:
        raise SourceError("--input is for networks of your own and video decoders", hint="--input-size N")
    size = wishes.input_size or size
    if size < spec.stride or size % spec.stride:
        near = max(round(size / spec.stride), 1) * spec.stride
        raise SourceError(
            f"input size {size} for {spec.name}",
            expected=f"a multiple of its stride, {spec.stride}, and no less",
            hint=f"--input-size {near}",
        )
    return (1, spec.shape[0], size, size)


def _latent(spec: ModelSpec, wishes: Wishes) -> tuple[int, ...]:
    own = (1, *spec.shape)
    wanted = f"(1, {spec.shape[0]}, T, H, W), such as {own}"
    if wishes.input_size:
        raise SourceError(
            f"--input-size {wishes.input_size} for the video decoder {spec.name}",
            expected=f"the latent's shape, {wanted}",
            hint=f"--input {','.join(map(str, own))}",
        )
    if not wishes.inputs:
        return own
    given = wishes.inputs[0]
    if len(wishes.inputs) != 1 or len(given) != 5 or given[:2] != own[:2] or min(given) < 1:
        said = " and ".join(str(shape) for shape in wishes.inputs)
        raise SourceError(f"a latent of shape {said} for {spec.name}", expected=wanted)
    return given


def _labels(spec: ModelSpec, row: Weights | None, classes: int) -> tuple[str, ...]:
    from models_zoo.weights import labels_of

    if row is None and classes != spec.num_classes:
        return tuple(f"class {index}" for index in range(classes))
    return labels_of(row or spec)
