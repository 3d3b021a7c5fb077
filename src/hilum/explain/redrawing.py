"""Networks with weights drawn again, whose maps a map that rests on what was learnt must not resemble.

Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018, arXiv:1810.03292.
"""

import copy

import torch
from torch import nn

from hilum.networks import Classifier


def redrawn(classifier: Classifier, part: str, film: torch.Tensor, seed: int) -> Classifier:
    """A copy of a network whose head, or all of it, holds its numbers in an order drawn at random.

    The numbers of each tensor stay the same, so that activations keep about their scale. Batch-norm statistics, which
    would be those of other features, are measured again on the film.

    Args:
        classifier: network to copy.
        part: one of `judging.REDRAWN`.
        film: (1, channels, H, W).
        seed: of the draw.
    """
    drawn = copy.deepcopy(classifier)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in (drawn.head if part == "head" else drawn).parameters():
            order = torch.randperm(tensor.numel(), generator=generator).to(tensor.device)
            tensor.copy_(tensor.flatten()[order].reshape(tensor.shape))
        if part == "all":
            _measure_again(drawn, film)
    return drawn.eval()


def _measure_again(classifier: Classifier, film: torch.Tensor) -> None:
    """Take every batch norm's mean and deviation from one film."""
    norms = [one for one in classifier.backbone.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    classifier.eval()
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    classifier.backbone(classifier.entry(torch.cat([film, film.flip(-1)])))  # two, or a map of 1 x 1 has no deviation
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.eval()
        norm.momentum = momentum
