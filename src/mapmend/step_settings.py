"""What a project file may say of each step: its settings, their defaults, and the refusal of any other key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from mapmend.change.settings import ChangeSettings
from mapmend.core.errors import ProjectError
from mapmend.core.plain import suggestion
from mapmend.core.settings import from_mapping, settings, split_mapping
from mapmend.pseudo.settings import PseudoSettings
from mapmend.train.config import LoopConfig

if TYPE_CHECKING:
    from mapmend.methods.method import Method


@settings
class NetworkSettings:
    """Which network is trained, and what it starts from.

    Attributes:
        encoder: a timm pyramid encoder, `mit_b0` … `mit_b5`, a plain ViT, or `errb64`, `errb128`, `rp64`, `rp128`,
            which keep the image's resolution.
        decoder: unet, fpn, deeplabv3plus, upernet, segformer, psp, dpt (for a plain ViT), or concat (for errb and rp).
        weights: auto, none, hub, lite0, or a safetensors file.
        decoder_widths: channels of the decoder's stages; empty for its own default.
        head: plain, linear, cosine or cosine_learned; empty for the method's own.
        preset: published, for encoder and decoder of the method's paper in the place of the two above.
    """

    encoder: str = "tf_efficientnet_lite0"
    decoder: str = "unet"
    weights: str = "auto"
    decoder_widths: tuple[int, ...] = ()
    head: Literal["", "plain", "linear", "cosine", "cosine_learned"] = ""
    preset: Literal["", "published"] = ""


@settings
class DataSettings:
    """How training sees the prepared sites.

    Attributes:
        crop: side of a training window in pixels.
        validation_share: share of the labelled area held out to choose the model; 0 for none.
        photometric: strength of random contrast and brightness; 0 for none.
        scale: least and largest factor by which a training window is enlarged; [1, 1] for none.
        most_of_class: the largest share of a window's labels that one class may have; windows with more are drawn
            again, ten times at most. 1 allows all.
        alignment: probability that a window is made as coarse as a sensor of 0.1 to 0.35 of its resolution would show
            it, with objects up to three times as large; 0 for never. Liu et al. take 0.2.
        distortion: brightness, contrast, saturation and (of three bands) hue varied much, as on photographs.
        labelled_share: share of the labelled places whose labels are learned from, to see what fewer would give; the
            others are places without a label. Drawn by the seed: a smaller share is part of a larger one.
        sensors: those whose images are looked at, of places that have all of them; all sensors when empty.
        labels: name of an earlier step `pseudo`, whose labels are learned from in the place of the manifest's.
    """

    crop: Annotated[int, Field(ge=32)] = 256
    validation_share: Annotated[float, Field(ge=0, le=0.5)] = 0.2
    photometric: Annotated[float, Field(ge=0, lt=1)] = 0.2
    scale: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (1.0, 1.0)
    most_of_class: Annotated[float, Field(gt=0, le=1)] = 1.0
    alignment: Annotated[float, Field(ge=0, le=1)] = 0.0
    distortion: bool = False
    labelled_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    sensors: tuple[str, ...] = ()
    labels: str = ""


@settings
class CalibrationSettings:
    """What makes probabilities say how often a map agrees with labels that the model has not seen.

    Attributes:
        calibration: temperature, which leaves the classes of a map as they are, vector or isotonic, which may change
            them, or none; fitted after training to the labels of the blocks that are held out.
    """

    calibration: Literal["none", "temperature", "vector", "isotonic"] = "temperature"


@settings
class PredictSettings:
    """How a model is applied.

    Attributes:
        window: side of a window in pixels; the model's own when empty.
        overlap: pixels shared by neighbouring windows; the model's own when empty.
        batch: windows predicted at once.
        precision: float32 or bfloat16.
        backend: torch, openvino (extra `[openvino]`), or auto, which tries both when a map is begun and keeps the
            faster one.
        dates: which dates of a site are mapped: the latest, all of them one by one, or as a pair the first and the last
            together with the probability of change; auto is pair where the project has a step `change` or a method of
            two dates, else latest.
        split: map only the sites of this split.
        probabilities: classes whose probability is written as a raster too, or all; of two dates, at the later one.
        entropy: write how undecided the model is: 0 where it is sure, 1 where all classes are equally likely.
        disagreement: write how much several models disagree: 0 where all say the same.
        certain: classes of which a three-state map is written: the class, not the class, cannot tell.
        risk: the largest share of errors in what these maps say, against held-out labels: 0.01, 0.02, 0.05, 0.1 or 0.2.
        views: how often a window is looked at, and the mean taken: once, in its four flips, turned as well (8), or
            flipped at six sizes from half to one and three quarters (24). It costs as many predictions; 24 cost 35.
        suppress: classes that the map never shows, such as a background: what is left shares their probability.
        prior: none, the image alone says what is where; or label, a place's own label counts as well, as far as it can
            be believed: a map that mends it. Places without a label are mapped from their images.
        doubt: share of the belief that such a label does not give to its class but to all as they are frequent; where
            its crosswalk has a mixture of classes for a code, that is the belief.
    """

    window: Annotated[int, Field(ge=32)] | None = None
    overlap: Annotated[int, Field(ge=0)] | None = None
    batch: Annotated[int, Field(ge=1)] = 4
    precision: Literal["float32", "bfloat16"] = "float32"
    backend: Literal["auto", "torch", "openvino"] = "torch"
    dates: Literal["auto", "latest", "all", "pair"] = "auto"
    split: Literal["", "train", "val", "test"] = ""
    probabilities: tuple[str, ...] | str = ()
    entropy: bool = False
    disagreement: bool = False
    certain: tuple[str, ...] = ()
    risk: Annotated[float, Field(gt=0, lt=1)] = 0.05
    views: Literal[1, 4, 8, 24] = 1
    suppress: tuple[str, ...] = ()
    prior: Literal["none", "label"] = "none"
    doubt: Annotated[float, Field(ge=0, lt=1)] = 0.2


@settings
class ReportSettings:
    """What the report shows.

    Attributes:
        title: its heading; the project's name when empty.
        sites: at most this many sites are drawn.
        group_by: where sites' names have their group, as `{state}_*`: a confusion matrix for each group, and means.
    """

    title: str = ""
    sites: Annotated[int, Field(ge=1)] = 6
    group_by: str = ""


@settings
class PrepareSettings:
    """`prepare` has nothing to set."""


_OF_VERBS: Mapping[str, type[Any]] = {
    "prepare": PrepareSettings,
    "pseudo": PseudoSettings,
    "predict": PredictSettings,
    "change": ChangeSettings,
    "report": ReportSettings,
}


@dataclass(frozen=True)
class TrainSettings:
    """What a step `train` says, each part where it belongs.

    Attributes:
        method: the class of the method.
        network: what is trained, and what it starts from.
        data: how it sees the prepared sites.
        loop: how long, how fast, and where.
        own: the method's own settings, of its `config_class`.
        calibration: of the trained model.
    """

    method: type[Method]
    network: NetworkSettings
    data: DataSettings
    loop: LoopConfig
    own: Any
    calibration: CalibrationSettings


def train_settings(given: Mapping[str, Any], where: str | Path) -> TrainSettings:
    """The settings of a training.

    Raises:
        ProjectError: the method or a key is unknown, or a value is not allowed.
    """
    from mapmend.methods import METHODS  # torch, which a file with faults does not wait for

    rest = dict(given)
    name = rest.pop("method", "supervised")
    if name not in METHODS:
        raise ProjectError(f"unknown method '{name}'", where=where, fix=suggestion(str(name), METHODS))
    method = METHODS[name]
    kinds = (NetworkSettings, DataSettings, LoopConfig, method.config_class, CalibrationSettings)
    network, data, loop, own, calibration = split_mapping(kinds, rest, where)
    return TrainSettings(method, network, data, loop, own, calibration)


def check_settings(verb: str, given: Mapping[str, Any], where: str) -> None:
    """Refuse settings that a verb does not have.

    Raises:
        ProjectError: a key is unknown, or a value is not allowed.
    """
    if verb == "train":
        train_settings(given, where)
    else:
        from_mapping(_OF_VERBS[verb], given, where=where)
