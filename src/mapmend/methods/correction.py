"""Labels corrected object by object while training, from a teacher, once the network begins to learn errors by heart.

After AIO2 (Liu et al., "AIO2: Online Correction of Object Labels", TGRS 2024): a trigger that watches how training
accuracy rises, and a correction by whole objects. Its formulas are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn

_NONE = 255


@dataclass(frozen=True)
class Rules:
    """When a teacher is believed against a label.

    Attributes:
        sure: mean probability over an object from which the teacher's class is taken.
        overlap: an object of the teacher's is a missing one only where the label has at most this share of its class.
        smallest: pixels below which no object is looked at.
    """

    sure: float = 0.8
    overlap: float = 0.1
    smallest: int = 16


def correct_objects(label: np.ndarray, probability: np.ndarray, rules: Rules) -> np.ndarray:
    """A label whose objects a teacher has looked at.

    First every connected part of the label takes the class that the teacher is sure of there on average. Then every
    connected part of the teacher's own map that the label has (almost) nothing of is put in: an object that is missing.
    A part that the label draws only larger or smaller is left as it is.

    Args:
        label: H×W uint8, 255 = no label, which stays.
        probability: K×H×W float, the teacher's.
        rules: when it is believed.

    Returns:
        H×W uint8.
    """
    out = label.copy()
    for part, index, means in _parts(label, probability, rules):
        best = int(means.argmax())
        if best != index and means[best] >= rules.sure:
            out[part] = best
    own = np.where(label == _NONE, _NONE, probability.argmax(0)).astype(np.uint8)
    corrected = out.copy()
    for part, index, means in _parts(own, probability, rules):
        if means[index] >= rules.sure and (corrected[part] == index).mean() <= rules.overlap:
            out[part] = index
    return out


def stops_falling(accuracy: Sequence[float], patience: int = 2) -> bool:
    """Whether the slope of a rising curve has stopped falling: it was steepest early, and is not getting flatter.

    Args:
        accuracy: of training, at equal intervals; taken as means of three.
        patience: how many slopes after the flattest one make certain of it.
    """
    smooth = [sum(accuracy[i : i + 3]) / 3 for i in range(len(accuracy) - 2)]
    slopes = [later - one for one, later in zip(smooth, smooth[1:], strict=False)]
    if len(slopes) < patience + 2:
        return False
    return min(slopes[-patience:]) >= min(slopes[:-patience])


class Trigger(nn.Module):
    """Remembers training accuracy and says when correction may begin; its state is in buffers.

    Args:
        intervals: into how many the training is cut; one mean accuracy each.
        least: share of the training before which nothing triggers.
    """

    means: Tensor
    sums: Tensor
    fired: Tensor

    def __init__(self, intervals: int = 40, least: float = 0.1) -> None:
        super().__init__()
        self._least = least
        self.register_buffer("means", torch.zeros(intervals, dtype=torch.float64))
        self.register_buffer("sums", torch.zeros(2, dtype=torch.float64))  # right pixels, labelled pixels
        self.register_buffer("fired", torch.zeros((), dtype=torch.bool))

    def watch(self, right: Tensor, labelled: Tensor, step: int, steps: int) -> None:
        """Count a step's pixels; at the end of an interval decide."""
        self.sums += torch.stack([right, labelled]).to(self.sums)
        length = max(1, steps // len(self.means))
        done, rest = divmod(step + 1, length)
        if rest or done > len(self.means):
            return
        self.means[done - 1] = self.sums[0] / self.sums[1].clamp(min=1)
        self.sums.zero_()
        if (step + 1) / steps >= self._least and stops_falling(self.means[:done].tolist()):
            self.fired.fill_(True)


def _parts(label: np.ndarray, probability: np.ndarray, rules: Rules) -> list[tuple[np.ndarray, int, np.ndarray]]:
    """Each connected part of one class: its places in the flat label as a mask, its class, mean probabilities K."""
    ids = np.zeros(label.shape, np.int64)
    classes: list[int] = []
    for index in np.unique(label[label != _NONE]).tolist():
        found, count = ndimage.label(label == index)
        ids += np.where(found > 0, found + len(classes), 0)
        classes += [index] * count
    sizes = np.bincount(ids.ravel(), minlength=len(classes) + 1)
    sums = np.stack([np.bincount(ids.ravel(), plane.ravel(), len(classes) + 1) for plane in probability])
    large = [part for part in range(1, len(classes) + 1) if sizes[part] >= rules.smallest]
    return [(ids == part, classes[part - 1], sums[:, part] / sizes[part]) for part in large]
