"""What a way to learn must offer: the training loop knows this and nothing else of a method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mapmend.core.errors import LabelError
from mapmend.core.sensor import Sensor
from mapmend.nn.spec import CHANGE_ALONE

Batch = Mapping[str, Tensor]
"""`image` B×T×C×H×W in its stored type, `mask` B×T×H×W int64 (255 = ignore), `valid` B×T×M×H×W bool, `trust` B.

For methods that see how sure a label is also `confidence` B×T×H×W uint8, 200 for certain. For methods that see the
label's own pixels also `cell` B×T×H×W int32 and maybe `shares` B×T×K×H×W uint8. For methods
of two dates also `change` B×H×W int64 (0 unchanged, 1 changed, 255 = nobody knows).
"""

METHODS: dict[str, type[Method]] = {}
CLASSES, CHANGE = "classes", "change"
"""Maps that a method may be judged by."""
CHANGE_NAMES = ("unchanged", "changed")
"""In the order of their numbers in a batch's `change`, as in the shipped legend `change`."""


@dataclass(frozen=True)
class StepState:
    """Where training stands in the step at hand.

    Attributes:
        step: counted from 0.
        steps: how many there will be.
        rank: this process, of `world`.
        world: how many processes train together.
        generator: on the CPU, seeded by (seed, step, rank); torch's own generators are seeded likewise.
        notes: what `note` collected.
    """

    step: int
    steps: int
    rank: int
    world: int
    generator: torch.Generator
    notes: dict[str, Tensor] = field(default_factory=dict)

    @property
    def progress(self) -> float:
        """Share of the steps done, for ramps."""
        return self.step / self.steps

    def note(self, name: str, value: Tensor) -> None:
        """Log a scalar that is not a loss of its own: a loss's part, a share, a threshold."""
        self.notes[name] = value.detach()


class Method(nn.Module, ABC):
    """Networks and a way to train them.

    All that training changes is in parameters and buffers (a teacher, a memory with its pointer, a quantile): they are
    what a checkpoint keeps. After each step the first process's buffers are copied to the others. Randomness comes from
    `StepState.generator` or torch's global generators alone. Override `train()` to keep a network in `eval()`.

    Args:
        network: what `predict` and the model folder use.
        config: an instance of `config_class`.
        counts: labelled training pixels per class.

    Attributes:
        bands: names of the image's channels, set before `meet` where they are known.
        sensors: sensor cards by modality, likewise.
        name: under which it is registered.
        config_class: its settings, see `mapmend.core.settings.settings`.
        loaders: the batches it needs in each step, by name.
        as_they_are: loaders whose batches are not augmented; their windows are turned and flipped all the same.
        head: of its networks, where none is asked for.
        dates: T of its batches.
        needs_classes: whether it learns nothing without labelled classes; of others `counts` may be all 0.
        criterion: what chooses the best weights, in words.
        published: encoder and decoder of its paper's network, where there is one.

    Raises:
        LabelError: fewer than two classes are labelled.
    """

    name: ClassVar[str]
    config_class: ClassVar[type]
    loaders: ClassVar[tuple[str, ...]] = ("labelled",)
    as_they_are: ClassVar[tuple[str, ...]] = ()
    head: ClassVar[str] = "plain"
    dates: ClassVar[int] = 1
    needs_classes: ClassVar[bool] = True
    criterion: ClassVar[str] = "mIoU"
    published: ClassVar[tuple[str, str] | None] = None
    config: Any

    def __init__(self, network: nn.Module, config: object, counts: Sequence[int]) -> None:
        super().__init__()
        if sum(count > 0 for count in counts) < 2 and (self.needs_classes or any(counts)):
            raise LabelError("fewer than two classes are labelled for training", fix="a map needs at least two")
        self.network = network
        self.config = config
        self.bands: tuple[str, ...] = ()
        self.sensors: Mapping[str, Sensor] = {}

    @classmethod
    def configured(cls, config: Any, label_ratio: float | None) -> Any:
        """The settings with what depends on the labels filled in.

        Args:
            config: an instance of `config_class`.
            label_ratio: a label's pixel in pixels of the image, the largest of the training sites; None if unknown.
        """
        return config

    @classmethod
    def sees_label_pixels(cls, config: Any) -> bool:
        """Whether batches shall tell of the label's own pixels, for these settings."""
        return False

    @classmethod
    def drops_modalities(cls, config: Any) -> bool:
        """Whether its networks learn to do without one of the images that are stacked for them."""
        return False

    @classmethod
    def sees_confidence(cls, config: Any) -> bool:
        """Whether batches shall tell how sure each label is, for these settings."""
        return False

    @classmethod
    def knows_frequencies(cls, config: Any) -> bool:
        """Whether the network's logits start from the classes' frequencies, for these settings."""
        return False

    @classmethod
    def pair(cls, config: Any) -> str:
        """What its networks make change of, one of `nn.spec.PAIRS`; empty for networks of one date."""
        return ""

    @classmethod
    def change_alone(cls, config: Any) -> bool:
        """Whether its map is the change itself, without classes of either date."""
        return cls.pair(config) == CHANGE_ALONE

    @abstractmethod
    def training_step(self, batches: Mapping[str, Batch], state: StepState) -> Iterator[tuple[str, Tensor]]:
        """Yield named losses, scalars; `backward` runs on each before the next is asked for.

        So losses that share a graph are yielded as one sum (`state.note` logs its parts), and losses that do not share
        one never hold more than one graph in memory. At least one is yielded; a batch without any label gives zero,
        never NaN.
        """

    def meet(self, classes: Sequence[str], folder: Path) -> None:  # noqa: B027 - most methods have nothing to ask
        """Called once, before training: the place to read the files that the settings name.

        What is read there belongs into `config`, by which a training is known again.

        Args:
            classes: names in the legend's order.
            folder: that relative paths start from.
        """

    def after_step(self, state: StepState) -> None:  # noqa: B027 - most methods have nothing to do here
        """Called after the optimiser's step, not after a skipped one: the place for teachers and memories."""

    def deployed(self) -> nn.Module:
        """The network that is averaged, validated and saved as the model."""
        return self.network

    def predict(self, image: Tensor, valid: Tensor) -> Tensor:
        """Logits B×K×H×W of one date by the deployed network; `image` B×C×H×W, `valid` B×1×H×W."""
        logits: Tensor = self.deployed()(image, valid)
        return logits

    def judged(self, classes: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """Names of the classes of each map that `judge` compares; `classes` are the legend's."""
        return {CLASSES: classes}

    def judge(self, batch: Batch) -> Mapping[str, tuple[Tensor, Tensor]]:
        """Label and prediction of each map that is judged, of equal shapes; 255 in the label does not count."""
        image, valid, mask = dates_as_samples(batch)
        return {CLASSES: (mask, self.predict(image, valid).argmax(1))}

    def in_head(self, parameter: str) -> bool:
        """Whether the parameter of this name learns at the head's rate: all that is in no encoder does."""
        return "encoder" not in parameter.split(".")


def register(name: str) -> Callable[[type[Method]], type[Method]]:
    """Enter a method in `METHODS`."""

    def enter(cls: type[Method]) -> type[Method]:
        if name in METHODS:
            raise ValueError(f"method '{name}' is registered twice")
        cls.name = name
        METHODS[name] = cls
        return cls

    return enter


def dates_as_samples(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Each date as a sample of its own: image B·T×C×H×W, valid B·T×1×H×W, mask B·T×H×W.

    A pixel is valid where all its modalities are.
    """
    return batch["image"].flatten(0, 1), batch["valid"].all(2, keepdim=True).flatten(0, 1), batch["mask"].flatten(0, 1)
