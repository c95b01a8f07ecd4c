"""A fixed part of a job's blocks, for arrays of processes that know nothing of each other but their number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from mapmend.core.errors import ProjectError
from mapmend.predict.blocks import Block


@dataclass(frozen=True)
class Shard:
    """The i-th of n parts, counted from 1: every n-th block, so that each part has its share of empty corners."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """`i/n`.

        Raises:
            ProjectError: it is none.
        """
        match = re.fullmatch(r"(\d+)/(\d+)", text.strip(), re.ASCII)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise ProjectError(f"'{text}' is no shard", where="--shard", fix="write 1/4 to 4/4 for four of them")
        return cls(int(match[1]), int(match[2]))

    def part(self, blocks: Sequence[Block]) -> list[Block]:
        """This shard's blocks."""
        return list(blocks[self.number - 1 :: self.of])
