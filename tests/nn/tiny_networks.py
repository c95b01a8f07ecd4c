"""Small networks and cards for the tests of this folder."""

import torch

from mapmend.nn.build import NetworkSpec, build_network
from mapmend.nn.model_folder import ModelCard

NARROW = {
    "unet": (16, 16, 8, 8, 8),
    "fpn": (32, 32),
    "deeplabv3plus": (16,),
    "upernet": (16,),
    "segformer": (16,),
    "psp": (16,),
    "dpt": (16,),
    "concat": (16,),
}


def spec_of(encoder="mobilenetv3_small_050", decoder="fpn", bands=3, classes=3, **other):
    given = {"mean": tuple(range(10, 10 + bands)), "std": (20.0,) * bands, "decoder_widths": NARROW[decoder]}
    return NetworkSpec(encoder, decoder, bands, classes, **given | other)


def network_of(*arguments, seed=0, **others):
    torch.manual_seed(seed)
    return build_network(spec_of(*arguments, **others))[0]


def image_of(bands=3, shape=(64, 64), batch=1, dtype=torch.uint8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(1, 200, (batch, bands, *shape), generator=generator).to(dtype)


def card_of(network, bands=("red", "green", "blue"), classes=("water", "tree", "built"), **other):
    entries = [{"id": at, "name": name, "color": f"#0000{at:02x}"} for at, name in enumerate(classes, start=1)]
    given = {"sensors": {"optical": {"name": "rgb"}}, "window": 64, "overlap": 16, "method": "supervised"}
    return ModelCard(spec=network.spec, bands=bands, legend={"name": "test", "classes": entries}, **given | other)
