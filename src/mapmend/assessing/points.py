"""Sample points and their answers: the rows of filled files, put together by point and interpreter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mapmend.accuracy.design import SampleDesign
from mapmend.core.errors import SampleError
from mapmend.core.plain import suggestion
from mapmend.sampling.files import SampleTable

Ints = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float64]

UNNAMED = "unnamed"
_MOST_LISTED = 5
_PATCH_COLUMNS = ("patch", "cluster")


@dataclass(frozen=True)
class Points:
    """The points of a sample.

    Attributes:
        ids: n, ascending.
        stratum: n, index into the design's strata.
        rounds: n.
        first: n, a row of the table for each point.
        interpreters: who answered any, in the order in which their answers first come.
        answers: I×n class indices, -1 where unanswered.
        answers_before: of the earlier date; None where the sample is of one date.
        half: points answered for one of two dates, which count as unanswered.
        patches: n, of cluster samples; -1 where the files do not say.
    """

    ids: Ints
    stratum: Ints
    rounds: Ints
    first: Ints
    interpreters: tuple[str, ...]
    answers: Ints
    answers_before: Ints | None
    half: int
    patches: Ints | None

    @property
    def headline(self) -> tuple[Ints, Ints | None]:
        """For each point the answer of the interpreter named first who gave one; at both dates of the same person."""
        result = np.full(self.ids.size, -1, np.intp)
        before = None if self.answers_before is None else result.copy()
        for number in reversed(range(len(self.interpreters))):
            given = self.answers[number] >= 0
            result[given] = self.answers[number][given]
            if before is not None and self.answers_before is not None:
                before[given] = self.answers_before[number][given]
        return result, before


def gather(table: SampleTable, design: SampleDesign) -> Points:
    """The points of a table.

    Raises:
        SampleError: a stratum or class that the design does not have, or no answer at all.
    """
    ids, first, member = np.unique(table.ids, return_index=True, return_inverse=True)
    strata = _strata_of(table, design)
    references = _classes_of(table.references, table, design)
    before = None
    if table.references_before is not None and any(table.references_before):
        before = _classes_of(table.references_before, table, design)
    half = 0
    if before is not None:
        one = (references >= 0) != (before >= 0)
        half = int(np.unique(member[one]).size)
        references, before = (np.where(one, -1, each) for each in (references, before))
    if not (references >= 0).any():
        raise SampleError(
            "no point has an answer", where=_file(table), fix="fill the column 'reference' with class names or ids"
        )
    names = [name or UNNAMED for name in table.interpreters]
    folded: dict[str, int] = {}
    for at in np.flatnonzero(references >= 0):
        folded.setdefault(names[at].casefold(), int(at))
    numbers = {name: number for number, name in enumerate(folded)}
    answers = np.full((len(folded), ids.size), -1, np.intp)
    earlier = None if before is None else answers.copy()
    for at in np.flatnonzero(references >= 0):
        person = numbers[names[at].casefold()]
        answers[person, member[at]] = references[at]
        if earlier is not None and before is not None:
            earlier[person, member[at]] = before[at]
    return Points(
        ids=ids.astype(np.intp),
        stratum=strata[first],
        rounds=table.rounds[first].astype(np.intp),
        first=first.astype(np.intp),
        interpreters=tuple(names[at] for at in folded.values()),
        answers=answers,
        answers_before=earlier,
        half=half,
        patches=_patches_of(table, first),
    )


def listed(ids: Sequence[int] | Ints) -> str:
    """Ids of points, the first few by number."""
    shown = ", ".join(str(id_) for id_ in list(ids)[:_MOST_LISTED])
    return shown if len(ids) <= _MOST_LISTED else f"{shown}, …"


def _file(table: SampleTable) -> str:
    return table.places[0].rpartition(", row")[0]


def _normal(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())


def _strata_of(table: SampleTable, design: SampleDesign) -> Ints:
    names = [one.name for one in design.strata]
    if table.strata is None:
        if len(names) == 1:
            return np.zeros(len(table), np.intp)
        raise SampleError(
            "has no column 'stratum'",
            where=_file(table),
            fix="give the sample with the stratum each point was drawn in",
        )
    if len(names) == 1 and not any(table.strata):
        return np.zeros(len(table), np.intp)
    known = {name.strip(): number for number, name in enumerate(names)}
    for place, name in zip(table.places, table.strata, strict=True):
        if name not in known:
            raise SampleError(
                f"stratum '{name}' is not one of the design's; strata must stay as they were when the sample was drawn",
                where=place,
                fix=suggestion(name, names),
            )
    return np.array([known[name] for name in table.strata], np.intp)


def _classes_of(cells: Sequence[str], table: SampleTable, design: SampleDesign) -> Ints:
    by_id = {str(id_): k for k, id_ in enumerate(design.class_ids)}
    by_name = {_normal(name): k for k, name in enumerate(design.classes)}
    meaning: dict[str, int] = {"": -1}
    for cell in set(cells) - {""}:
        text = cell.removesuffix(".0")
        meaning[cell] = by_id[text] if text in by_id else by_name.get(_normal(cell), -2)
    unknown = Counter(cell for cell in cells if meaning[cell] == -2)
    if unknown:
        most = unknown.most_common(_MOST_LISTED)
        shown = ", ".join(f"'{name}' ({count} point{'s' * (count > 1)})" for name, count in most)
        more = f" and {len(unknown) - _MOST_LISTED} more" if len(unknown) > _MOST_LISTED else ""
        raise SampleError(
            f"answers that are no class of the design: {shown}{more}",
            where=table.places[list(cells).index(most[0][0])],
            fix=suggestion(most[0][0], design.classes),
        )
    return np.array([meaning[cell] for cell in cells], np.intp)


def _patches_of(table: SampleTable, first: Ints) -> Ints | None:
    for name in _PATCH_COLUMNS:
        cells = table.others.get(name)
        if cells is not None and any(cells):
            numbers = {text: number for number, text in enumerate(dict.fromkeys(cells))}
            return np.array([-1 if not cells[at] else numbers[cells[at]] for at in first], np.intp)
    return None
