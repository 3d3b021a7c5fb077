"""Maps of what raises a label, by six methods; each gives a signed value a cell, brought to one grid.

Those that captum computes are asked for here and nowhere else.

References:
    cam: Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016, doi 10.1109/CVPR.2016.319;
        for vectors pooled in parts it is what Draelos and Carin derive as HiResCAM, arXiv:2011.08891.
    grad-cam: Selvaraju et al., "Grad-CAM", ICCV 2017, doi 10.1109/ICCV.2017.74.
    grad-cam++: Chattopadhay et al., "Grad-CAM++", WACV 2018, doi 10.1109/WACV.2018.00097.
    eigen-cam: Muhammad and Yeasin, "Eigen-CAM", IJCNN 2020, doi 10.1109/IJCNN48605.2020.9206626.
    occlusion: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014,
        doi 10.1007/978-3-319-10590-1_53.
    integrated-gradients: Sundararajan et al., "Axiomatic Attribution for Deep Networks", ICML 2017, arXiv:1703.01365.
    captum: Kokhlikyan et al., "Captum: A unified and generic model interpretability library for PyTorch",
        arXiv:2009.07896.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hilum.engine.evidence import SAME, Signed, together
from hilum.errors import UsageError, require, unknown_name
from hilum.explain.evidence import Evidence, Grid, chosen_layers, linear_head, recorded
from hilum.networks import Classifier
from hilum.preprocess import Frame

if TYPE_CHECKING:
    from hilum.bundle import Bundle

EXTRA = "explain"
WINDOWS = 8
"""The square that hides part of a film is an eighth of its side, and moves by half of that."""
NOISE = 1e-4
"""Hiding a part that changes the log-odds by less has changed nothing: batches of other sizes round otherwise."""
STEPS = 32
"""Points on the way from the baseline to the film."""
CELL_PX = 16
"""Single pixels of integrated gradients are noise: they are averaged over squares of this side."""
AT_ONCE = 4
"""Films a pass where a method needs many."""
READ_BY_HEAD = "what the head reads"
FILM = "film"
"""What is told as the layer of methods that look at the film alone."""

Levels = list[Tensor]
"""A map (looks, h, w) a layer: the film's, then its mirror image's where the network reads both."""


@dataclass(frozen=True, slots=True, eq=False)
class RawMap:
    """What each cell does to a label.

    Attributes:
        signed: (h, w), above 0 where a cell raises the label; of no fixed scale.
        method: how it was made.
        layer: where it was read.
        grids: (rows, columns) of every layer read, the finest being that of `signed`.
    """

    signed: Signed
    method: str
    layer: str
    grids: tuple[Grid, ...]


@dataclass(frozen=True, slots=True)
class Method:
    """How a map is made: from layers' maps, or, where `of_layers` is False, from the film alone; by captum or here."""

    made: Callable[[Evidence, Tensor, Sequence[nn.Module]], Levels]
    of_layers: bool = True
    captum: bool = False


def raw_map(
    classifier: Classifier, film: Tensor, place: int, *, method: str | None = None, layer: str | None = None
) -> RawMap:
    """What raises a label on one film.

    Args:
        classifier: network that tells the label.
        film: (1, channels, H, W) as the network reads it.
        place: of the label among the classes.
        method: one of `METHODS`; None for `default_method`.
        layer: a module of the backbone's body; None for the maps the head reads.

    Raises:
        UsageError: an unknown method or layer, a layer of 1 x 1, or a method that cannot read this network.
        MissingExtra: the method needs captum, which is not installed.
    """
    name = check_method(classifier, method, layer)
    evidence, how = Evidence(classifier, place), METHODS[name]
    found = chosen_layers(evidence, film, layer) if how.of_layers else []
    film = film.detach().clone().requires_grad_()
    levels = [_upright(level.detach()) for level in how.made(evidence, film, [module for module, _ in found])]
    told = (layer or READ_BY_HEAD) if how.of_layers else FILM
    return RawMap(together(levels), name, told, tuple((part.shape[0], part.shape[1]) for part in levels))


def as_film(bundle: "Bundle", frame: Frame) -> Tensor:
    """A frame (side, side) -> (1, channels, side, side) as the bundle's network reads it."""
    device = next(bundle.network.parameters()).device
    return torch.from_numpy(bundle.preprocess.normalise(frame[None])).to(device)


def default_method(classifier: Classifier) -> str:
    """`cam` where the head is linear, for there it is exact and costs one pass; else `grad-cam`."""
    return "cam" if linear_head(classifier) else "grad-cam"


def check_method(classifier: Classifier, method: str | None, layer: str | None) -> str:
    """The method's name.

    Raises:
        UsageError: it is unknown, or cannot read this network or that layer.
        MissingExtra: it needs captum, which is not installed.
    """
    name = method or ("grad-cam" if layer else default_method(classifier))
    if name not in METHODS:
        raise unknown_name("method", name, METHODS)
    if name == "cam" and not linear_head(classifier):
        raise UsageError("method 'cam' needs a head of one linear layer, this one has hidden layers: use 'grad-cam'")
    if layer and (name == "cam" or not METHODS[name].of_layers):
        raise UsageError(f"method '{name}' reads no inner layer: leave --layer out, or use 'grad-cam'")
    if METHODS[name].captum:
        _captum()
    return name


def _upright(level: Tensor) -> Signed:
    """(looks, h, w) -> (h, w): the mirror image's map is turned back and added."""
    parts: Signed = level.double().cpu().numpy()
    upright: Signed = parts[0] + parts[1, :, ::-1] if len(parts) > 1 else parts[0]
    return upright


def _cam(evidence: Evidence, film: Tensor, _: Sequence[nn.Module]) -> Levels:
    """The head's weight of each cell times what the cell holds: with the bias they add up to the log-odds.

    The weights come back through pooling and head alone; the backbone is passed once and never derived.
    """
    with torch.no_grad():
        maps = evidence.maps(film)
    maps = [part.detach().requires_grad_() for part in maps]
    weights = torch.autograd.grad(evidence.log_odds(evidence.logits(maps)).sum(), maps)
    return [_evened(part, (part * weight).sum(1)) for part, weight in zip(maps, weights, strict=True)]


def _evened(part: Tensor, level: Tensor) -> Tensor:
    """A level's map; even where no feature differs from cell to cell, for then only the head's parts would show."""
    part = part.detach()
    differ = (part.amax((2, 3)) - part.amin((2, 3))).amax()
    return level if not differ <= SAME * part.abs().amax() else level.mean((1, 2), keepdim=True).expand_as(level)


def _grad_cam(evidence: Evidence, film: Tensor, layers: Sequence[nn.Module]) -> Levels:
    attr = _captum()
    return [attr.LayerGradCam(evidence, layer).attribute(film)[:, 0] for layer in layers]


def _grad_cam_plus_plus(evidence: Evidence, film: Tensor, layers: Sequence[nn.Module]) -> Levels:
    with recorded(layers) as made:
        value = evidence(film).sum()
    maps = [made[place] for place in range(len(layers))]
    return [_plus_plus(part, grads) for part, grads in zip(maps, torch.autograd.grad(value, maps), strict=True)]


def _plus_plus(part: Tensor, grads: Tensor) -> Tensor:
    """Equation 19 of the paper, for exp(log-odds) as the score.

    It is derived for activations of 0 and above. Sums below 0, which maps without a ReLU have, would let the
    denominator cross 0; they count as 0.
    """
    total = part.sum((2, 3), keepdim=True).clamp_min(0)
    below = 2 * grads**2 + total * grads**3
    shares = torch.where(below > 0, grads**2 / torch.where(below > 0, below, torch.ones_like(below)), 0 * grads)
    weights = (shares * grads.relu()).sum((2, 3), keepdim=True)
    return (weights * part).sum(1)


def _eigen_cam(evidence: Evidence, film: Tensor, layers: Sequence[nn.Module]) -> Levels:
    """Where the layer is most active along its first principal direction; the same for every label.

    A direction has no sign of its own: the larger end is taken as active. Layers count alike, whatever their scale.
    """
    with recorded(layers) as made, torch.no_grad():
        evidence(film)
    levels = []
    for part in (made[place] for place in range(len(layers))):
        projected = torch.stack([_projected(one) for one in part])
        levels.append(projected / projected.abs().amax().clamp_min(1e-30) / projected[0].numel())
    return levels


def _projected(part: Tensor) -> Tensor:
    """(features, h, w) -> (h, w)."""
    cells = part.flatten(1).T.double()
    if not cells.isfinite().all():
        return torch.full(part.shape[1:], torch.nan)
    first: Tensor = cells @ torch.linalg.svd(cells, full_matrices=False).Vh[0]
    return (first if first.max() >= -first.min() else -first).reshape(part.shape[1:])


def _occlusion(evidence: Evidence, film: Tensor, _: Sequence[nn.Module]) -> Levels:
    """By how much the log-odds fall when a square of the film is replaced by the film's mean."""
    side = film.shape[-1]
    window = max(2, side // WINDOWS)
    stride = max(1, window // 2)
    channels = film.shape[1]
    fallen = (
        _captum()
        .Occlusion(evidence)
        .attribute(
            film.detach(),
            sliding_window_shapes=(channels, window, window),
            strides=(channels, stride, stride),
            baselines=_mean_film(film),
            perturbations_per_eval=AT_ONCE,
        )
    )
    fallen = torch.where(fallen.abs() < NOISE, torch.zeros_like(fallen), fallen)
    return [_coarser(fallen[:, 0], round(side / stride))]


def _integrated_gradients(evidence: Evidence, film: Tensor, _: Sequence[nn.Module]) -> Levels:
    """What each pixel adds on the way from a film of the mean grey; from a black one, dark lungs could add nothing."""
    added = (
        _captum()
        .IntegratedGradients(evidence)
        .attribute(film, baselines=_mean_film(film), n_steps=STEPS, internal_batch_size=AT_ONCE)
    )
    return [_coarser(added.sum(1), max(2, film.shape[-1] // CELL_PX))]


def _mean_film(film: Tensor) -> Tensor:
    return film.detach().mean((2, 3), keepdim=True).expand_as(film).clone()


def _coarser(part: Tensor, cells: int) -> Tensor:
    """(1, H, W) -> (1, cells, cells), averages."""
    return nn.functional.adaptive_avg_pool2d(part[None].float(), cells)[0]


def _captum() -> Any:
    return require("captum.attr", extra=EXTRA)


METHODS: Mapping[str, Method] = {
    "cam": Method(_cam),
    "grad-cam": Method(_grad_cam, captum=True),
    "grad-cam++": Method(_grad_cam_plus_plus),
    "eigen-cam": Method(_eigen_cam),
    "occlusion": Method(_occlusion, of_layers=False, captum=True),
    "integrated-gradients": Method(_integrated_gradients, of_layers=False, captum=True),
}
"""Name -> how it is made."""
