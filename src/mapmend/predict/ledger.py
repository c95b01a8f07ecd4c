"""The state of a mapping job, one small file per finished block, so that it can be stopped at any moment."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mapmend.core.durable import replace_json
from mapmend.core.errors import JobError, MapmendError
from mapmend.core.provenance import RECORD, file_hash
from mapmend.predict.blocks import Block
from mapmend.predict.layers import Layers
from mapmend.predict.run_block import BlockResult

_JOB = "job.json"


@dataclass(frozen=True)
class Ledger:
    """Which blocks of a job are done.

    Attributes:
        folder: of the job.
        layers: that are mapped.
    """

    folder: Path
    layers: Layers = Layers()

    @property
    def blocks(self) -> Path:
        """Where blocks' files lie until the map is put together."""
        return self.folder / "blocks"

    def claim(self, identity: Mapping[str, object]) -> None:
        """Make the folder that of a job, or see that it already is.

        Args:
            identity: all that the job's bytes depend on, as plain values.

        Raises:
            JobError: it is another job's; it is named in what they differ.
        """
        file = self.folder / _JOB
        given = json.loads(json.dumps(identity))
        if file.is_file():
            found = _read(file)
            differing = sorted(key for key in {*given, *found} if given.get(key) != found.get(key))
            if ("date_before" in found) != ("date_before" in given):
                fault = "one date, and two" if "date_before" in given else "two dates, and one"
                raise JobError(
                    f"holds a map of {fault} shall be mapped",
                    where=self.folder,
                    fix="delete this folder, or choose another output folder",
                )
            if differing:
                raise JobError(
                    f"holds another job: {', '.join(_difference(key, found, given) for key in differing)}",
                    where=self.folder,
                    fix="choose another output folder, or delete this one",
                )
        elif any((self.folder / name).exists() for name in ("class.tif", "confidence.tif", RECORD)):
            raise JobError("holds a map without its job.json", where=self.folder, fix="choose another output folder")
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                replace_json(file, given)
            except MapmendError:
                self.discard()
                raise

    @property
    def started(self) -> bool:
        """Whether any block is done."""
        return any(self.blocks.glob("[!.]*.json"))

    def clean(self) -> None:
        """Remove the blocks' files, and what a killed process left half-written."""
        for folder in (self.blocks, *self.folder.glob(".*.part")):
            shutil.rmtree(folder, ignore_errors=True)

    def discard(self) -> None:
        """Remove all traces of a job that came to nothing."""
        self.clean()
        (self.folder / _JOB).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # it holds other files
            self.folder.rmdir()

    def done(self, block: Block) -> BlockResult | None:
        """What a block became in an earlier run, if its files are still those that were written; else None."""
        file = self._entry(block)
        if not file.is_file():
            return None
        entry, files = _read(file), self.layers.of_block(block, self.blocks)
        try:
            same = all(path.is_file() and file_hash(path) == entry["files"][path.name] for path in files)
            return BlockResult(files, entry["windows"], entry["pixels"], entry["seconds"]) if same else None
        except (KeyError, TypeError):
            return None

    def record(self, block: Block, result: BlockResult) -> None:
        """Write down that a block is done; its files are already there."""
        hashes = {path.name: file_hash(path) for path in result.files}
        numbers = {"windows": result.windows, "pixels": result.pixels, "seconds": round(result.seconds, 3)}
        replace_json(self._entry(block), {"files": hashes, **numbers})

    def _entry(self, block: Block) -> Path:
        return self.blocks / f"{block.id}.json"


def _read(path: Path) -> dict[str, Any]:
    try:
        plain = json.loads(path.read_text())
    except ValueError:
        plain = None
    if not isinstance(plain, dict):
        raise JobError("is not a file of a mapping job", where=path, fix="delete the folder and start again")
    return plain


def _difference(key: str, found: Mapping[str, object], given: Mapping[str, object]) -> str:
    values = [str(plain.get(key)) for plain in (found, given)]
    return f"its {key} is {values[0]}, now {values[1]}" if max(map(len, values)) <= 24 else f"its {key} differ"
