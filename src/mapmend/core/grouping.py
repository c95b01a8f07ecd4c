"""Names of places sorted into groups, such as tiles into states, by a pattern that says where the group stands."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mapmend.core.errors import ProjectError

_MARK = re.compile(r"\{([a-z][a-z0-9]*)\}")


@dataclass(frozen=True)
class Grouping:
    """Where the group stands in a name.

    Attributes:
        pattern: `{state}_*`: one word in braces, which is the kind of the groups, and `*` for anything.
        kind: that word; it becomes a part of the figures' names.
    """

    pattern: str
    kind: str

    @classmethod
    def of(cls, pattern: str, *, where: str) -> Grouping:
        """The grouping of a pattern.

        Raises:
            ProjectError: it does not have one word in braces.
        """
        marks = _MARK.findall(pattern)
        if len(marks) != 1 or pattern.count("{") != 1:
            fix = "write it once, as in '{state}_*', with small letters in the braces"
            raise ProjectError(f"'{pattern}' does not say where a name has its group", where=where, fix=fix)
        return cls(pattern, marks[0])

    def group(self, name: str, *, where: str) -> str:
        """The group of a place.

        Raises:
            ProjectError: the name does not fit the pattern.
        """
        head, tail = (re.escape(part).replace(r"\*", ".*") for part in _MARK.sub("\0", self.pattern).split("\0"))
        match = re.fullmatch(f"{head}(.+?){tail}", name)
        if match is None:
            raise ProjectError(
                f"'{name}' does not fit '{self.pattern}'", where=where, fix="give a pattern of all names"
            )
        return match[1]
