"""Labels as beliefs about each pixel: what is believed before the image is looked at, and what is learned from both."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mapmend.losses.posterior import belief_likelihood, believed, posterior, running_mean
from mapmend.losses.robust import mixture_cross_entropy
from mapmend.methods.robust_settings import RobustSettings


class Beliefs(nn.Module):
    """The part of `Robustness` that is `robust: posterior`.

    Args:
        config: of the method.
        counts: labelled training pixels per class.
    """

    frequency: Tensor
    mapped: Tensor
    believed: Tensor

    def __init__(self, config: RobustSettings, counts: Sequence[int]) -> None:
        super().__init__()
        self.config = config
        shares = torch.tensor(counts, dtype=torch.float32) / max(sum(counts), 1)
        self.register_buffer("frequency", shares, persistent=False)
        self.register_buffer("mapped", torch.zeros(len(counts)))
        self.register_buffer("believed", torch.zeros(len(counts)))

    def loss(self, logits: Tensor, mask: Tensor, shares: Tensor | None, pixel_weight: Tensor | None) -> Tensor:
        """The likelihood of the beliefs, with a little of the cross-entropy against them.

        Args:
            logits: B×K×H×W.
            mask: B×H×W, the labels.
            shares: what the label's product says of each class, B×K×H×W, or None.
            pixel_weight: broadcasts to B×H×W; 1 for all where None.
        """
        prior = self._prior(mask, shares)
        mapped, believed = self._means(logits, prior, mask)
        if self.training:
            self.mapped.copy_(mapped)
            self.believed.copy_(believed)
        marginal = torch.maximum(mapped, believed)
        likelihood = belief_likelihood(logits, mask, prior, marginal, pixel_weight=pixel_weight)
        if not self.config.anchor:
            return likelihood
        plain = mixture_cross_entropy(logits, mask, prior, pixel_weight=pixel_weight)
        return likelihood + self.config.anchor * plain

    @torch.no_grad()
    def likeliest(self, logits: Tensor, mask: Tensor, shares: Tensor | None) -> Tensor:
        """The class that each labelled pixel is by now believed to be, B×H×W; arguments as in `loss`.

        A map that has fallen into the commonest class is no judge of labels: where it would leave less than half of
        what a batch's labels call another class, they are given back as they are.
        """
        prior = self._prior(mask, shares)
        marginal = torch.maximum(*self._means(logits, prior, mask))
        found = posterior(logits.float().log_softmax(1), prior, marginal).argmax(1).where(mask != 255, 255)
        others, labelled = ((one != self.frequency.argmax()).logical_and(mask != 255).sum() for one in (found, mask))
        return found.where(2 * others >= labelled, mask)

    @torch.no_grad()
    def _means(self, logits: Tensor, prior: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Mean share of each class in the map and in the beliefs, K each.

        What is divided by is the larger one. By the map's share alone, a class that the beliefs overstate would grow on
        whatever looks unlike the rest: the rarer it is, the more each of its pixels would gain.
        """
        mapped = running_mean(logits.float().softmax(1), mask, self.mapped)
        return mapped, running_mean(prior, mask, self.believed)

    def _prior(self, mask: Tensor, shares: Tensor | None) -> Tensor:
        """What is believed of each pixel before the image is looked at, B×K×H×W: nothing for certain."""
        if shares is None:
            label = mask.where(mask != 255, 0)
            shares = nn.functional.one_hot(label, len(self.frequency)).movedim(-1, 1).float()
        return believed(shares, mask != 255, self.frequency, self.config.doubt, self.config.blur or 0.0)
