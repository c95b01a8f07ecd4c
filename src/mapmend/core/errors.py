"""What can go wrong for a user, one class per kind; the command line prints each in one line and exits with 2."""

from pathlib import Path


class MapmendError(Exception):
    """A fault in what the user gave: what is wrong, where, and what to do about it.

    Args:
        what: what is wrong, without a full stop.
        where: the file, key or band it is about.
        fix: what the user can do.
    """

    def __init__(self, what: str, *, where: str | Path | None = None, fix: str | None = None) -> None:
        self.what, self.where, self.fix = what, where, fix
        place = f"{where}: " if where is not None else ""
        advice = f"; {fix}" if fix else ""
        super().__init__(" ".join(f"{place}{what}{advice}".split()))

    def __reduce__(self) -> tuple[object, ...]:
        """Survive pickling, so that an error raised in a worker process arrives whole."""
        return (_rebuild, (type(self), self.what, self.where, self.fix))


def _rebuild(cls: type[MapmendError], what: str, where: str | Path | None, fix: str | None) -> MapmendError:
    return cls(what, where=where, fix=fix)


class ProjectError(MapmendError):
    """The project file or a setting is wrong."""


class ManifestError(MapmendError):
    """The list of scenes is wrong."""


class LegendError(MapmendError):
    """A legend, a crosswalk, or a class code that is in neither."""


class SensorError(MapmendError):
    """A sensor card is wrong, or an image does not fit it."""


class GridError(MapmendError):
    """Grids that do not fit together, or a CRS that is missing where one is needed."""


class RasterError(MapmendError):
    """A raster cannot be opened, read or trusted."""


class EmptyMapError(RasterError):
    """A place has no valid pixel to be mapped."""


class VectorError(MapmendError):
    """A vector file cannot be opened, read or trusted."""


class LabelError(MapmendError):
    """Labels from which nothing can be learned."""


class SampleError(MapmendError):
    """A reference sample, its counts or its design, from which nothing valid can be estimated."""


class ModelError(MapmendError):
    """A network that cannot be built, or a model folder that cannot be used."""


class TrainError(MapmendError):
    """Training cannot start or cannot go on."""


class JobError(MapmendError):
    """An output folder belongs to another job, or a job cannot be finished."""


class DiskError(MapmendError):
    """The disk is full, or will be."""
