"""A file opened before workers start must give every worker its right pixels."""

import multiprocessing

import numpy as np
import pytest
import torch

from mapmend.core.grid import Window
from mapmend.core.sensor import load_sensor
from mapmend.raster.reading import ImageSource, Reader

SIZE, TILE = 1024, 64
PIXELS = np.random.default_rng(3).integers(0, 60000, (1, SIZE, SIZE)).astype(np.uint16)
WINDOWS = [Window(row, col, TILE, TILE) for row in range(0, SIZE, TILE) for col in range(0, SIZE, TILE)]


@pytest.fixture
def reader(write_raster):
    path = write_raster("a.tif", PIXELS, tiled=True, blockxsize=64, blockysize=64, compress="deflate")
    card = load_sensor({"card": "png", "bands": ["one"], "dtypes": ["uint16"]})
    reader = Reader(ImageSource((path,), ("one",), card))
    for window in WINDOWS[:5]:
        reader.read(window)  # the parent has the file open from here on
    return reader


def wrong_pixels(reader, windows):
    return sum(int((reader.read(window)[0] != PIXELS[:, *window.slices]).sum()) for window in windows)


def check_in_child(reader, seed, results):
    order = np.random.default_rng(seed).permutation(len(WINDOWS))
    results.put(wrong_pixels(reader, [WINDOWS[i] for i in order]))


def test_forked_processes_that_read_at_once(reader):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    children = [context.Process(target=check_in_child, args=(reader, seed, results)) for seed in range(4)]
    for child in children:
        child.start()
    mine = wrong_pixels(reader, WINDOWS)
    theirs = [results.get(timeout=60) for _ in children]
    for child in children:
        child.join(timeout=60)
    assert mine == 0 and theirs == [0] * 4 and all(child.exitcode == 0 for child in children)


class Windows(torch.utils.data.Dataset):
    def __init__(self, reader):
        self.reader = reader

    def __len__(self):
        return len(WINDOWS)

    def __getitem__(self, index):
        return index, self.reader.read(WINDOWS[index])[0].astype(np.int32)


def test_a_data_loader_whose_parent_read_first(reader):
    loader = torch.utils.data.DataLoader(Windows(reader), batch_size=16, num_workers=2, multiprocessing_context="fork")
    seen = 0
    for indices, pixels in loader:
        for index, tile in zip(indices.tolist(), pixels.numpy(), strict=True):
            np.testing.assert_array_equal(tile, PIXELS[:, *WINDOWS[index].slices])
            seen += 1
        assert wrong_pixels(reader, WINDOWS[:3]) == 0
    assert seen == len(WINDOWS)
