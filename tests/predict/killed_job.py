"""A small mapping job for child processes that are killed; nothing here runs torch at import."""

import os
import resource
import signal
import time
from pathlib import Path

import torch
from tiny_predictors import Local, predictor

from mapmend.core.classes import Legend, LegendClass
from mapmend.core.errors import DiskError
from mapmend.core.preemption import Preempted
from mapmend.predict.job import predict_scene

LEGEND = Legend("two", (LegendClass(1, "low", "#101010"), LegendClass(2, "high", "#f0f0f0")))


class Slow:
    """A predictor that waits before every batch and says that it works."""

    def __init__(self, inner, seconds, touched=None):
        self._inner, self._seconds, self._touched = inner, seconds, touched

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def probabilities(self, pixels, valid):
        if self._touched is not None:
            Path(self._touched).touch()
        time.sleep(self._seconds)
        return self._inner.probabilities(pixels, valid)


def map_scene(scene, out, seconds=0.0, touched=None):
    """The job: blocks of 48 pixels, a network of one convolution."""
    torch.set_num_threads(1)
    model = Slow(predictor(Local(classes=2), LEGEND, size=32, overlap=8, batch=2), seconds, touched)
    return predict_scene(model, scene, Path(out), block=48, progress=False)


def die_after_rename(number, scene, out):
    """The job, killed as soon as so many files are in their place."""
    rename, renamed = os.replace, []

    def rename_and_die(source, target):
        rename(source, target)
        renamed.append(target)
        if len(renamed) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = rename_and_die
    map_scene(scene, out)


def map_on_full_disk(most, scene, out):
    """The job, where no file may grow beyond so many bytes: the system's error is that of a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    map_scene(scene, out)


def exit_with(started, function, *arguments):
    """Run in a child process; its exit code is that of the command line."""
    started.set()
    try:
        function(*arguments)
    except Preempted as stop:
        os._exit(stop.code)
    except DiskError:
        os._exit(2)
    os._exit(0)
