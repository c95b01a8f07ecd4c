"""The row of a project's steps: what each is called, and which earlier one it goes on from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mapmend.core.errors import ProjectError
from mapmend.core.plain import suggestion

VERBS = ("prepare", "train", "pseudo", "predict", "change", "report")
DEFAULT = tuple(verb for verb in VERBS if verb != "pseudo")
"""What is done where a file lists no steps."""
TRAIN, PSEUDO, PREDICT = "train", "pseudo", "predict"
_SOURCES = {TRAIN: (0, 1), PSEUDO: (1, 99), PREDICT: (1, 99)}
"""How many earlier trainings a step may go on from."""


@dataclass(frozen=True)
class Step:
    """A step of the row.

    Attributes:
        verb: what is done.
        name: by which later steps know it; empty for none.
        source: names of the trainings it goes on from; empty for the last one before it, and in `train` for none.
        settings: the verb's own.
    """

    verb: str
    name: str = ""
    source: tuple[str, ...] = ()
    settings: Mapping[str, Any] | None = None

    @property
    def own(self) -> Mapping[str, Any]:
        """The settings, without name and source."""
        return self.settings or {}


@dataclass(frozen=True)
class Row:
    """All steps.

    Attributes:
        earlier: trainings and labellings before the last training.
        last: by verb, what follows from it: that training, and what is made with it.
    """

    earlier: tuple[Step, ...]
    last: Mapping[str, Step]


def read_row(
    entries: Sequence[str | Mapping[str, Any]], path: Path, check: Callable[[str, Mapping[str, Any], str], None]
) -> Row:
    """The row that a file lists.

    Args:
        entries: verbs, alone or with their settings.
        path: of the file.
        check: refuses settings that a verb does not have.

    Raises:
        ProjectError: an unknown verb, verbs out of order, or a name that no earlier step has.
    """
    steps = [_step(entry, f"{path}: steps, entry {number}", check) for number, entry in enumerate(entries, start=1)]
    trainings = [number for number, step in enumerate(steps) if step.verb == TRAIN]
    first = trainings[-1] if len(trainings) > 1 or _labels_before(steps, trainings) else 0
    begin = [step for step in steps[:first] if step.verb not in (TRAIN, PSEUDO)]
    earlier = tuple(step for step in steps[:first] if step.verb in (TRAIN, PSEUDO))
    last = [*begin, *steps[first:]]
    for number, step in enumerate(last):
        if step.verb in [one.verb for one in last[:number]]:
            raise ProjectError(f"step '{step.verb}' is given twice", where=path, fix="keep one")
    verbs = [step.verb for step in last]
    if verbs != [verb for verb in VERBS if verb in verbs]:
        raise ProjectError(f"steps are out of order: {', '.join(verbs)}", where=path, fix=f"order: {', '.join(VERBS)}")
    _check_names((*earlier, *last), earlier, path)
    return Row(earlier, {step.verb: step for step in last} or {verb: Step(verb) for verb in DEFAULT})


def _labels_before(steps: Sequence[Step], trainings: Sequence[int]) -> bool:
    return bool(trainings) and any(step.verb == PSEUDO for step in steps[: trainings[0]])


def _step(entry: str | Mapping[str, Any], where: str, check: Callable[[str, Mapping[str, Any], str], None]) -> Step:
    named = {entry: {}} if isinstance(entry, str) else entry
    if len(named) != 1:
        raise ProjectError("is not one verb with its settings", where=where, fix="write `- train: {steps: 600}`")
    [(verb, given)] = named.items()
    if verb not in VERBS:
        raise ProjectError(f"unknown step '{verb}'", where=where, fix=suggestion(verb, VERBS))
    settings, name = dict(given or {}), ""
    source: tuple[str, ...] = ()
    if verb in _SOURCES:
        name, told = str(settings.pop("name", "")), settings.pop("from", ())
        source = (told,) if isinstance(told, str) else tuple(map(str, told))
        if any(character in name for character in "/\\\0") or name.startswith("."):
            raise ProjectError(f"name '{name}' cannot name a folder", where=where, fix="use letters, digits, - _")
    check(verb, settings, f"{where}: {verb}")
    return Step(verb, name, source, settings)


def _check_names(steps: Sequence[Step], earlier: Sequence[Step], path: Path) -> None:
    """Refuse names that are missing, given twice, or of no earlier step."""
    known: dict[str, str] = {}
    trained = False
    for step in steps:
        where = f"{path}: steps: {step.name or step.verb}"
        if step in earlier and not step.name:
            raise ProjectError("has no name, and a later step goes on from it", where=where, fix="give it a `name`")
        least, most = _SOURCES.get(step.verb, (0, 0))
        for name in step.source:
            if known.get(name) != TRAIN:
                names = [one for one, verb in known.items() if verb == TRAIN]
                raise ProjectError(
                    f"goes on from '{name}', which no training before it is",
                    where=where,
                    fix=suggestion(name, names) if names else "name an earlier training",
                )
        if len(step.source) > most:
            raise ProjectError("goes on from several models", where=where, fix="name one")
        if least and not trained and not step.source and step.verb == PSEUDO:
            raise ProjectError("has no model to make labels with", where=where, fix="put a training before it")
        labels = step.own.get("labels", "")
        if labels and known.get(str(labels)) != PSEUDO:
            raise ProjectError(
                f"learns from the labels of '{labels}', which no `pseudo` before it makes",
                where=where,
                fix="name an earlier step `pseudo`",
            )
        if step.name in known:
            raise ProjectError(f"name '{step.name}' is given twice", where=where, fix="choose another")
        trained |= step.verb == TRAIN
        if step.name:
            known[step.name] = step.verb
