"""A label as a belief about each pixel, which what the image shows of all pixels turns into a better one.

The implicit posterior models of Rolf et al., "Resolving Label Uncertainty with Implicit Posterior Models" (UAI 2022):
a network's q(k|x) is taken for the posterior of a generative model, so that q(k|x) over its mean m_k is in proportion
to the chance of the image under class k, whatever it is. With a prior belief s about a pixel, r_k ∝ s_k·q_k/m_k is what
the pixel is then to be believed to be. A class that is common in the map but not in the beliefs loses by the division,
and one that a belief calls unlikely is found where the image looks like places in which it is likely.

What m stands for may be larger than the map's mean, which a rare class then gains less by; see `methods/beliefs.py`.

The loss is the likelihood of the beliefs, whose slope is that of cross-entropy against r. The divergences of r and q
that the paper trains with are zero for any map of one class and for any map that is sure of itself, and fall into that
where beliefs are strong.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

NEVER = 1e-5  # of a prior: no belief is so sure that no image could move it
RAREST = 1e-4  # of a class's share of the map, by which is divided
CERTAIN = 0.995  # shares above this are a label taken at its word
_TAKES = 0.05  # what a batch adds to the running mean


def posterior(log_q: Tensor, prior: Tensor, marginal: Tensor) -> Tensor:
    """Logarithm of the posterior r_k ∝ s_k·q_k/m_k, of the shape B×K×….

    Args:
        log_q: of the network's probabilities, B×K×…
        prior: s, B×K×…, over the classes they sum to one.
        marginal: m, K: mean probabilities over all that is mapped, or what stands for them.
    """
    return F.log_softmax(_joint(log_q, prior, marginal), 1)


def belief_likelihood(
    logits: Tensor,
    target: Tensor,
    prior: Tensor,
    marginal: Tensor,
    *,
    pixel_weight: Tensor | None = None,
    ignore_index: int = 255,
) -> Tensor:
    """Mean over the labelled pixels of −log Σ_k s_k·q_k/m_k; may be below 0.

    Args:
        logits: B×K×…
        target: B×… int64; only where it has a label is of interest.
        prior: s, B×K×…
        marginal: m, K, no gradient.
        pixel_weight: broadcasts to B×…; 1 for all where None.
        ignore_index: a pixel without a label.

    Returns:
        A float32 scalar; 0 where there are no labels.
    """
    each = -torch.logsumexp(_joint(F.log_softmax(logits.float(), 1), prior, marginal), 1)
    labelled = (target != ignore_index).float()
    counted = labelled if pixel_weight is None else labelled * pixel_weight.float()
    return (each * counted).sum() / labelled.sum().clamp(min=1)


@torch.no_grad()
def running_mean(shares: Tensor, target: Tensor, before: Tensor, *, ignore_index: int = 255) -> Tensor:
    """The mean share of each class, K, after another batch.

    A batch's own mean would take a batch that shows forest alone for a world of forest.

    Args:
        shares: B×K×…, probabilities or beliefs.
        target: B×… int64; labelled pixels count.
        before: the mean of the batches before, K; all zero where there were none.
        ignore_index: a pixel without a label.
    """
    labelled = (target != ignore_index).reshape(-1, 1).float()
    mean = (shares.movedim(1, -1).reshape(-1, shares.shape[1]) * labelled).sum(0) / labelled.sum().clamp(min=1)
    return torch.lerp(before, mean, torch.where(before.any(), _TAKES, 1.0) * labelled.any())


def believed(shares: Tensor, labelled: Tensor, frequency: Tensor, doubt: float, blur: float) -> Tensor:
    """What is believed of each pixel before the image is looked at: nothing for certain.

    Args:
        shares: B×K×H×W, what the label, or the mixtures of its product, say.
        labelled: B×H×W, whether a pixel has a label.
        frequency: of the classes, K; over them it sums to one.
        doubt: share of the belief that a label without mixtures gives to all classes as they are frequent.
        blur: standard deviation, in pixels, of how far off a label may lie; 0 for none.
    """
    doubted = doubt * (shares.amax(1, keepdim=True) > CERTAIN)
    if blur:
        shares = blurred(shares, labelled, blur)
    return (1 - doubted) * shares + doubted * frequency.view(1, -1, 1, 1)


def blur_reach(sigma: float) -> int:
    """How many pixels away a label still counts where beliefs are blurred."""
    return math.ceil(2 * sigma)


def blurred(shares: Tensor, labelled: Tensor, sigma: float) -> Tensor:
    """Beliefs about pixels whose labels may lie some way off: the Gaussian mean of those around, where there are any.

    Args:
        shares: B×K×H×W.
        labelled: B×H×W, whether a pixel has a label; others say nothing to their neighbours.
        sigma: standard deviation of the displacement, in pixels.

    Returns:
        B×K×H×W; over the classes they sum to one where the shares do and a label is near.
    """
    reach = blur_reach(sigma)
    places = torch.arange(-reach, reach + 1, device=shares.device, dtype=shares.dtype)
    kernel = torch.exp(-0.5 * (places / sigma) ** 2)
    there = labelled[:, None].to(shares)
    layers = torch.cat([shares * there, there], 1)
    flat = layers.reshape(-1, 1, *layers.shape[-2:])
    flat = F.conv2d(flat, kernel.view(1, 1, 1, -1), padding=(0, reach))
    flat = F.conv2d(flat, kernel.view(1, 1, -1, 1), padding=(reach, 0))
    summed = flat.view_as(layers)
    return summed[:, :-1] / summed[:, -1:].clamp(min=1e-6)


def _joint(log_q: Tensor, prior: Tensor, marginal: Tensor) -> Tensor:
    shape = (1, -1, *[1] * (log_q.ndim - 2))
    return log_q + prior.float().clamp(min=NEVER).log() - marginal.clamp(min=RAREST).log().view(shape)
