"""TorchGeo's ChesapeakeCVPR as scenes: it is asked by place, but its index names the files of each tile."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mapmend.core.manifest import Row
from mapmend.data.chesapeake import CHESAPEAKE, chesapeake_rows, tiles_of_index
from mapmend.data.torchgeo_opening import TORCHGEO, arguments, construct

CHESAPEAKE_CVPR = "ChesapeakeCVPR"


def chesapeake_cvpr_rows(
    entry: Mapping[str, object], where: str, base: Path, *, reference: bool = False
) -> tuple[Row, ...]:
    """Rows of an entry that names TorchGeo's ChesapeakeCVPR: the files of its index, used where they are.

    Args:
        entry: `torchgeo`, `args` (of which TorchGeo takes `root`, `splits`, `download`), and the keys of
            `chesapeake_rows` but for `states` and `split`, which `splits` says.
        where: named in errors.
        base: folder that a relative `root` starts from.
        reference: as in `chesapeake_rows`.

    Raises:
        ManifestError: TorchGeo is not installed or does not find the data, or as `chesapeake_rows`.
    """
    args = arguments(entry, where, base)
    rest = {key: value for key, value in entry.items() if key not in (TORCHGEO, "args")}
    dataset = construct(CHESAPEAKE_CVPR, args, where)
    tiles = tiles_of_index(Path(args.get("root", "data")), dataset.index.to_dict("records"))
    return tuple(chesapeake_rows({CHESAPEAKE: "", **rest}, where, base, reference=reference, tiles=tiles))
