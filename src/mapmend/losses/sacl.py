"""SACL, semantics-augmented contrastive learning: features of one class held together across dates, and classes apart.

Tang et al., "The ClearSCD model" (ISPRS J. 211, 2024), sections on SACL, and its public code where the paper is silent.
Ours: everything is index arithmetic over groups (date × class); a batch of one class, a batch of one pair and pixels
without a label need no special case; and slots of the memory that were never filled take no part, where the public
code contrasts with the random vectors it began with. All is computed in float32.

Only means of queries are ever compared, and the last layer of the projection head is linear: the mean of pixels'
projections is the projection of their mean. So losses take what stands before that layer, and `project`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_NEVER = -1e4  # stands for a similarity of −∞, whose gradient would be NaN where a batch has one class


def local_contrast(
    queries: Tensor,
    keys: Tensor,
    label: Tensor,
    classes: int,
    generator: torch.Generator,
    *,
    project: Callable[[Tensor], Tensor] | None = None,
    most: int = 1024,
    temperature: float = 0.1,
    ignore_index: int = 255,
) -> Tensor:
    """InfoNCE of each class's mean query with its keys one by one, against the keys of all other classes.

    Queries and keys are drawn independently, for each date and class at most `most` pixels. With a_c the normalised
    mean of class c's queries of all dates, k⁺ its keys and k⁻ those of other classes, all keys of length 1,

        L_c = mean_i −log[e^{a_c·k_i⁺/τ} / (e^{a_c·k_i⁺/τ} + Σ_j e^{a_c·k_j⁻/τ})],

    and the loss is the mean over the classes present. Both queries and keys learn.

    Args:
        queries: z, B×T×D×h×w; with `project`, of any width.
        keys: F, B×T×D×h×w, of any length.
        label: B×T×h×w int64, class indices.
        classes: K.
        generator: on the CPU.
        project: affine, from the width of `queries` to that of keys, …×D; None where they are z already.
        most: pixels of a date and class that are drawn.
        temperature: τ.
        ignore_index: a pixel without a label, never drawn.

    Returns:
        A float32 scalar; 0 without labels, and 0 of one class, which has nothing to be told from.
    """
    group = _groups(label, classes, ignore_index)
    asked, _ = draw(group, label.shape[1] * classes, most, generator)
    found, _ = draw(group, label.shape[1] * classes, most, generator)
    own = F.one_hot(group[asked] % classes, classes).float()
    anchors = F.normalize(_projected(own.T @ _rows(queries)[asked], own.sum(0), project), dim=1)
    # length 1 after drawing: few of the pixels are drawn
    similar = F.normalize(_rows(keys)[found], dim=1) @ anchors.T / temperature
    positive = F.one_hot(group[found] % classes, classes).bool()
    against = similar.masked_fill(positive, _NEVER).logsumexp(0) if len(found) else similar.sum(0)
    each = F.softplus(against - similar) * positive
    count = positive.sum(0)
    return (each.sum(0) / count.clamp(min=1)).sum() / (count > 0).sum().clamp(min=1)


class Memory(nn.Module):
    """Keys of past batches, a queue for each date and class, and the contrast of a batch's classes with them.

    Args:
        dates: T.
        classes: K.
        size: M, keys in a queue.
        width: D.
        fresh: keys that a step adds to a queue; a class with fewer pixels adds none.

    Attributes:
        keys: T×K×M×D, of length 1; 0 where nothing was put yet.
        pointer: T×K, the slot that is written next.
        filled: T×K, slots that hold a key.
    """

    keys: Tensor
    pointer: Tensor
    filled: Tensor

    def __init__(self, dates: int, classes: int, size: int = 512, width: int = 128, fresh: int = 64) -> None:
        super().__init__()
        if not 0 < fresh <= size:
            raise ValueError(f"a queue of {size} cannot take {fresh} keys at once")
        self.fresh = fresh
        self.register_buffer("keys", torch.zeros(dates, classes, size, width))
        self.register_buffer("pointer", torch.zeros(dates, classes, dtype=torch.int64))
        self.register_buffer("filled", torch.zeros(dates, classes, dtype=torch.int64))

    def contrast(
        self,
        queries: Tensor,
        probability: Tensor,
        label: Tensor,
        *,
        project: Callable[[Tensor], Tensor] | None = None,
        ignore_index: int = 255,
    ) -> Tensor:
        """Pull each date's classes to their keys of all dates and push them from all other classes' keys.

        The query q_{t,c} of date t and class c is the normalised mean of its pixels' z weighted by hardness 1 − p_c.

            L_{t,c} = ½[mean over c's keys of (1 − q·k) + mean over the other classes' keys of (1 + q·k)],
            L = Σ_t 1/(T·|C_t|) Σ_{c ∈ C_t} L_{t,c},

        C_t the classes of date t with a query. A mean over no key counts nothing. Only the queries learn.

        Args:
            queries: z, B×T×D×h×w; with `project`, of any width.
            probability: p, B×T×K×h×w, taken as a constant.
            label: B×T×h×w int64.
            project: as of `local_contrast`.
            ignore_index: a pixel without a label.

        Returns:
            A float32 scalar; 0 without labels or keys.
        """
        dates, classes = self.pointer.shape
        rows = queries.float().movedim(2, -1).transpose(0, 1).flatten(1, 3)  # T×N×D
        share = probability.detach().float().movedim(2, -1).transpose(0, 1).flatten(1, 3)
        target = label.transpose(0, 1).flatten(1)
        own = target[..., None] == torch.arange(classes, device=label.device)
        hardness = (1 - share).where(own & (target != ignore_index)[..., None], 0)
        weight = hardness.sum(1)  # T×K
        asked = weight > 0
        query = F.normalize(_projected(hardness.mT @ rows, weight, project), dim=2)

        count = self.filled.sum(0)
        sums = self.keys.sum((0, 2))  # K×D; slots that were never filled are 0
        near = query @ sums.T  # T×K×K, sums of q·k
        alike = near.diagonal(dim1=1, dim2=2)
        others, apart = count.sum() - count, near.sum(2) - alike
        pull = (1 - alike / count.clamp(min=1)) * (count > 0)
        push = (1 + apart / others.clamp(min=1)) * (others > 0)
        each = (pull + push).where(asked, 0) / 2
        return (each.sum(1) / asked.sum(1).clamp(min=1)).sum() / dates

    @torch.no_grad()
    def enqueue(self, keys: Tensor, label: Tensor, generator: torch.Generator, *, ignore_index: int = 255) -> None:
        """Put random keys of each date and class in the place of the oldest ones.

        Args:
            keys: F, B×T×D×h×w, of any length.
            label: B×T×h×w int64.
            generator: on the CPU.
            ignore_index: a pixel without a label, never drawn.
        """
        dates, classes, size, _ = self.keys.shape
        group = _groups(label, classes, ignore_index)
        enough = torch.bincount(group, minlength=dates * classes + 1)[:-1] >= self.fresh
        chosen, rank = draw(group, dates * classes, self.fresh, generator)
        kept = enough[group[chosen]]
        chosen, rank = chosen[kept], rank[kept]
        date, number = group[chosen] // classes, group[chosen] % classes
        slot = (self.pointer[date, number] + rank) % size
        self.keys[date, number, slot] = F.normalize(_rows(keys)[chosen], dim=1)
        added = self.fresh * enough.view(dates, classes)
        self.pointer.copy_((self.pointer + added) % size)
        self.filled.copy_((self.filled + added).clamp(max=size))


def draw(group: Tensor, groups: int, most: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """At most so many random members of each group.

    Args:
        group: N int64; those that are in none have the number `groups`.
        groups: how many there are.
        most: members drawn of each.
        generator: on the CPU.

    Returns:
        Places in `group`, and each one's number among the drawn of its group, from 0.
    """
    mixed = torch.randperm(len(group), generator=generator).to(group.device)
    order = mixed[group[mixed].argsort(stable=True)]
    sizes = torch.bincount(group, minlength=groups + 1)
    rank = torch.arange(len(group), device=group.device) - (sizes.cumsum(0) - sizes)[group[order]]
    drawn = (rank < most) & (group[order] < groups)
    return order[drawn], rank[drawn]


def _projected(sums: Tensor, weight: Tensor, project: Callable[[Tensor], Tensor] | None) -> Tensor:
    """Projections of the weighted means whose sums …×C and weights … are given; only their direction counts."""
    if project is None:
        return sums  # of the mean's direction
    return project(sums / weight.clamp(min=torch.finfo(weight.dtype).tiny)[..., None])


def _groups(label: Tensor, classes: int, ignore_index: int) -> Tensor:
    """Date · K + class of every pixel of B×T×h×w, flat; T·K for pixels without a label."""
    dates = label.shape[1]
    number = torch.arange(dates, device=label.device)[:, None, None] * classes + label
    return number.where(label != ignore_index, dates * classes).flatten()


def _rows(feature: Tensor) -> Tensor:
    """B×T×D×h×w → (B·T·h·w)×D float32."""
    return feature.float().movedim(2, -1).flatten(0, 3)
