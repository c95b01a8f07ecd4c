"""A training that takes seconds: samples and networks that follow the project's protocols, on 32-pixel windows."""

import json
import os
import signal

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import Dataset

from mapmend.methods import METHODS
from mapmend.methods.method import CHANGE_NAMES
from mapmend.nn.build import build_network
from mapmend.nn.cosine_head import PixelOutput
from mapmend.nn.spec import CHANGE_ALONE, NetworkSpec
from mapmend.train.config import LoopConfig
from mapmend.train.log import read_log
from mapmend.train.loop import fit

CLASSES = ("dark", "middle", "bright")
SIDE = 32


def sample(rng, classes=3, labelled=1.0, cell=8, whole=False, dates=1):
    """Cells of one class each; the image is the class's grey plus noise; unless `whole`, some pixels are invalid.

    Of two dates, half of the second's cells may have changed.
    """
    if dates == 2:
        return pair_sample(rng, classes, labelled, cell, whole)
    cells = rng.integers(classes, size=(SIDE // cell, SIDE // cell))
    mask = np.kron(cells, np.ones((cell, cell), np.int64))
    image = 60 * mask[None] + rng.integers(0, 80, size=(3, SIDE, SIDE))
    valid = rng.random((SIDE, SIDE)) > (0 if whole else 0.05)
    image = np.where(valid, image, 255).astype(np.uint8)
    mask = np.where(rng.random(mask.shape) < labelled, mask, 255)
    return {
        "image": torch.from_numpy(image)[None],
        "mask": torch.from_numpy(mask)[None],
        "valid": torch.from_numpy(valid)[None, None],
        "trust": torch.tensor(0),
    }


def pair_sample(rng, classes, labelled, cell, whole):
    first, second = (sample(rng, classes, labelled, cell, whole) for _ in range(2))
    again = np.kron(rng.random((SIDE // cell, SIDE // cell)) < 0.5, np.ones((cell, cell))).astype(bool)
    again = torch.from_numpy(again)[None]
    second["mask"] = first["mask"].where(again, second["mask"])
    second["image"] = first["image"].where(again, second["image"])
    both = {name: torch.cat([first[name], second[name]]) for name in ("image", "mask", "valid")}
    before, after = both["mask"]
    change = (before != after).long().where((before != 255) & (after != 255), 255)
    return {**both, "change": change, "trust": first["trust"]}


class TrainingSamples(Dataset):
    """By key (step, rank, i); with `ranks_share` the ranks' batches are parts of one batch."""

    def __init__(self, seed=0, ranks_share=0, **how):
        self.seed, self.ranks_share, self.how = seed, ranks_share, how

    def __getitem__(self, key):
        step, rank, i = key
        if self.ranks_share:
            rank, i = 0, rank * self.ranks_share + i
        return sample(np.random.default_rng([self.seed, step, rank, i]), **self.how)


class ValidationSamples(Dataset):
    """By index."""

    def __init__(self, count=4, **how):
        self.count, self.how = count, how

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return sample(np.random.default_rng([99, index]), **self.how)


class TinyNetwork(nn.Module):
    """Image B×3×H×W and validity to logits B×3×H×W, with the parts that make training hard to repeat."""

    def __init__(self, norm=True, dropout=0.1, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8) if norm else nn.Identity(),
            nn.ReLU(),
            nn.Dropout2d(dropout),
        )
        self.decoder = nn.Conv2d(8, 3, 1)
        self.register_buffer("mean", torch.tensor(100.0))
        self.register_buffer("std", torch.tensor(60.0))

    @property
    def head(self):
        return self.decoder

    def forward(self, image, valid):
        return self.decoder(self.decoded(image, valid))

    def decoded(self, image, valid):
        return self.encoder(((image.float() - self.mean) / self.std) * valid)

    def at_image(self, maps, image):
        return maps

    def pixels(self, image, valid):
        feature = self.decoded(image, valid)
        return PixelOutput(self.decoder(feature), feature, None)


def classes_of(kind):
    """The names of what a method's tiny training tells apart."""
    return CLASSES if knows_classes(kind) else CHANGE_NAMES


def knows_classes(kind):
    return kind.pair(kind.config_class()) != CHANGE_ALONE


def network_of(kind, norm=True, dropout=0.1, seed=0):
    """A network such as a method takes: of two dates, a small one of the package's own."""
    pair = kind.pair(kind.config_class())
    if not pair:
        return TinyNetwork(norm, dropout, seed)
    torch.manual_seed(seed)
    count = len(classes_of(kind))
    widths = (32, 32)
    spec = NetworkSpec("mobilenetv3_small_050", "fpn", 3, count, (100.0,) * 3, (60.0,) * 3, widths, pair=pair)
    return build_network(spec)[0]


QUICK = {"batch": 2, "workers": 0, "accelerator": "cpu", "lr": 0.02}


def supervised(network=None, **settings):
    kind = METHODS["supervised"]
    return kind(network or TinyNetwork(), kind.config_class(**settings), (1, 1, 1))


def run(
    out, method=None, training=None, validation=None, header=None, augment=None, on_step=None, identity=None, **config
):
    method = method or supervised()
    result = fit(
        method,
        training or TrainingSamples(),
        validation,
        LoopConfig(**{**QUICK, **config}),
        out,
        classes=CLASSES,
        identity=identity or {},
        header=header,
        augment=augment,
        on_step=on_step,
    )
    return method, result


def weights(method):
    return {name: tensor.clone() for name, tensor in method.state_dict().items()}


def rows(out, kind):
    return [row for row in read_log(out / "log.jsonl") if row["kind"] == kind]


def timeless(out):
    """The log without what the clock says."""
    clock = ("seconds", "samples_per_second")
    return [{name: value for name, value in row.items() if name not in clock} for row in read_log(out / "log.jsonl")]


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def newest(out):
    """Every tensor and counter of the newest checkpoint; the clock aside."""
    folder = max((out / "checkpoints").iterdir())
    scalars = json.loads((folder / "state.json").read_text())["scalars"]
    for name in ("seconds", "evaluation_seconds"):
        scalars.pop(name)
    return load_file(folder / "state.safetensors"), scalars


def signal_at(step, number=signal.SIGTERM):
    def on_step(done, outcome):
        if done == step:
            os.kill(os.getpid(), number)

    return on_step
