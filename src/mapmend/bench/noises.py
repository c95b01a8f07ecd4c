"""Which noise a bench plants, as a user writes it: `name`, or `name:key=value:key=value`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import yaml

from mapmend.core.errors import ProjectError
from mapmend.data.noise import Injector, make_injector
from mapmend.data.noise.scale import Coarse

NOISES = ("swap", "missing", "coarse", "shift", "outdated")
"""What is planted where nothing is asked for."""

_OURS: Mapping[str, Mapping[str, object]] = {
    "missing": {"rate": 0.3},  # the mean of what it draws, so that seeds can be compared
}
_TRUST = {"coarse": "coarse", "outdated": "outdated"}


@dataclass(frozen=True)
class Noise:
    """A kind of noise with its settings.

    Attributes:
        title: as it was asked for.
        injector: that makes it.
    """

    title: str
    injector: Injector

    @property
    def trust(self) -> str:
        """What a manifest says of such a label."""
        return _TRUST.get(self.injector.name, "noisy")

    @property
    def block(self) -> int | None:
        """Side of the label's own pixels in pixels of the image, where they are larger."""
        return self.injector.block if isinstance(self.injector, Coarse) else None


def parse_noises(texts: Sequence[str]) -> tuple[Noise, ...]:
    """Noises from texts like `swap` and `coarse:block=16:misplaced=no`.

    Raises:
        ProjectError: none or one twice, an unknown noise, or settings that it does not have.
    """
    if not texts:
        raise ProjectError("no noise is asked for", where="--noise", fix=f"for example {','.join(NOISES)}")
    twice = next((text for text in texts if texts.count(text) > 1), None)
    if twice is not None:
        raise ProjectError(f"'{twice}' is given twice", where="--noise", fix="keep one")
    return tuple(_parse(text) for text in texts)


def _parse(text: str) -> Noise:
    name, *given = text.split(":")
    settings: dict[str, object] = dict(_OURS.get(name, {}))
    for part in given:
        key, equals, value = part.partition("=")
        if not equals or not key:
            raise ProjectError(f"'{part}' of '{text}' is not key=value", where="--noise", fix="write swap:rate=0.4")
        try:
            settings[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ProjectError(f"'{value}' of '{text}' is no value", where="--noise", fix="correct it") from None
    return Noise(text, make_injector(name, settings))
