"""Folders of files as scenes: patterns in which `{name}` stands for what differs, and lists that say which to take."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from mapmend.core.errors import ManifestError
from mapmend.core.manifest import COLUMNS, SPLITS, Row, check_columns, make_row
from mapmend.core.plain import suggestion

ScenePattern = Mapping[str, object]
_PLACEHOLDER = "{name}"
_LIST = "list"
_RANGE = ("first", "last")


def expand(pattern: ScenePattern, where: str, base: Path) -> list[Row]:
    """Rows of a pattern: a row of a manifest whose files hold `{name}`.

    `image` may map sensors to files, which makes a row for each; `label` may map classes to masks; several files of
    bands may be a list. `site` is `{name}` unless given. `list` names a text file with the names to take, one a line;
    `split` may map train, val and test to such files. Without lists, all that exists is taken; `first` and `last` leave
    out names that come before or after them in the order of texts.

    Args:
        pattern: the entry.
        where: named in errors.
        base: folder that relative paths start from.

    Raises:
        ManifestError: a pattern matches nothing, a list names what is not there, or a row does not fit.
    """
    values = {key: value for key, value in pattern.items() if value is not None}
    lists = _lists(values, where)
    first, last = (str(values.pop(key, "")) for key in _RANGE)
    images = _images(values.pop("image", None), str(values.pop("sensor", "")))
    files = [file for image in images.values() for file in image] + _take_label(values)
    files += [str(values["change"])] if "change" in values else []
    fixed = {key: str(value) for key, value in values.items()}
    fixed.setdefault("site", _PLACEHOLDER)
    check_columns([*fixed, "image", "sensor"], where, (_LIST, *_RANGE))
    if not files:
        raise ManifestError(
            "names neither image nor label", where=where, fix=f"keys: {', '.join((*COLUMNS, _LIST, *_RANGE))}"
        )
    if lists:
        chosen = list(_listed(lists, [file for file in files if _PLACEHOLDER in file], where, base))
    else:
        names = _found(files, where, base)
        chosen = [("", name) for name in names if first <= name and (name <= last or not last)]
        if not chosen:
            told = f"no name lies between '{first}' and '{last}'"
            raise ManifestError(told, where=where, fix=f"they go from {names[0]} to {names[-1]}")
    rows = []
    for split, name in chosen:
        for sensor, image in images.items():
            filled = {**fixed, "split": split or fixed.get("split", ""), "sensor": sensor, "image": ";".join(image)}
            filled = {key: value.replace(_PLACEHOLDER, name) for key, value in filled.items() if value}
            rows.append(make_row(filled, where, base))
    return rows


def _images(image: object, sensor: str) -> dict[str, list[str]]:
    """Files by sensor; one sensor without files where the entry names a label alone."""
    given = dict(image) if isinstance(image, Mapping) else {sensor: image}
    parts = {
        str(name): files if isinstance(files, list) else [] if files is None else str(files).split(";")
        for name, files in given.items()
    }
    return {name: [str(file).strip() for file in files if str(file).strip()] for name, files in parts.items()}


def _take_label(values: dict[str, object]) -> list[str]:
    """The label's files; a mapping from class to file becomes the text that a manifest holds."""
    label = values.get("label")
    if not isinstance(label, Mapping):
        return [] if label is None else [str(label)]
    if len(label) == 1:
        [(values["label_class"], values["label"])] = label.items()
    else:
        values["label"] = ";".join(f"{name}={file}" for name, file in label.items())
    return [str(file) for file in label.values()]


def _lists(values: dict[str, object], where: str) -> list[tuple[str, str]]:
    """(split, list) of an entry; split is empty where the entry says it otherwise."""
    split, single = values.get("split"), values.pop(_LIST, None)
    if not isinstance(split, Mapping):
        return [] if single is None else [("", str(single))]
    del values["split"]
    if single is not None:
        raise ManifestError("gives `list` and a list for each split", where=where, fix="leave out `list`")
    for name in split:
        if name not in SPLITS:
            raise ManifestError(f"split '{name}' is unknown", where=where, fix=suggestion(str(name), SPLITS))
    return [(str(name), str(file)) for name, file in split.items()]


def _listed(
    lists: Sequence[tuple[str, str]], patterns: Sequence[str], where: str, base: Path
) -> Iterator[tuple[str, str]]:
    """(split, name) of every line of the lists.

    Raises:
        ManifestError: a list is missing or empty, or a line names a file that does not exist or was named before.
    """
    if not patterns:
        raise ManifestError("has a list and no {name}", where=where, fix="write {name} where the files differ")
    seen: dict[str, str] = {}
    for split, file in lists:
        for number, line in _lines(base / file):
            place = f"{base / file}, line {number}"
            name = _name_in(line, patterns, base, place)
            if name in seen:
                raise ManifestError(f"'{name}' stands in {seen[name]} already", where=place, fix="keep one of the two")
            seen[name] = place
            yield split, name


def _lines(path: Path) -> list[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ManifestError("no such list", where=path, fix="correct the path") from None
    except (OSError, UnicodeDecodeError):
        raise ManifestError("is not a text file", where=path, fix="write one name a line, in UTF-8") from None
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if not lines:
        raise ManifestError("names nothing", where=path, fix="write one name a line")
    return lines


def _name_in(line: str, patterns: Sequence[str], base: Path, place: str) -> str:
    """What a line of a list means by `{name}`: a name, a file's name or path, or one of each in columns."""
    columns = re.split(r"[\s,;]+", line)
    readings: list[tuple[str, list[str]]] = [(columns[0], columns[1:]), (line, [])]
    for text, beside in readings if "/" in line else reversed(readings):  # a name may hold blanks
        for name in _readings(text, patterns[0]):
            files = [pattern.replace(_PLACEHOLDER, name) for pattern in patterns]
            if not (base / files[0]).exists():
                continue
            missing = next((file for file in files if not (base / file).exists()), None)
            if missing is not None:
                raise ManifestError(
                    f"names '{text}', and there is no {missing}", where=place, fix="correct the list or the pattern"
                )
            known = {part for file in files for part in (PurePosixPath(file).name, PurePosixPath(file).stem)}
            stranger = next((column for column in beside if PurePosixPath(column).name not in known), None)
            if stranger is not None:
                raise ManifestError(
                    f"names '{stranger}' beside '{text}', and no pattern gives that",
                    where=place,
                    fix="correct the list",
                )
            return name
    expected = patterns[0].replace(_PLACEHOLDER, list(_readings(columns[0], patterns[0]))[-1])
    raise ManifestError(
        f"names '{columns[0]}', and there is no {expected}", where=place, fix="correct the list or the pattern"
    )


def _readings(text: str, pattern: str) -> Iterator[str]:
    """The names that a path or name in a list may mean, the likeliest first."""
    path, parts = PurePosixPath(text.replace("\\", "/")), PurePosixPath(pattern).parts
    depth = next(len(parts) - index for index, part in enumerate(parts) if _PLACEHOLDER in part)
    match = _expression("/".join(parts[-depth:])).fullmatch("/".join(path.parts[-depth:]))
    if match:
        yield match.group(1)
    yield path.name
    yield path.stem


def _found(files: Sequence[str], where: str, base: Path) -> list[str]:
    """What `{name}` stands for in the first pattern that has it; files of the others are checked later."""
    first = next((file for file in files if _PLACEHOLDER in file), None)
    if first is None:
        return [""]
    folder, _, tail = first.partition(_PLACEHOLDER)[0].rpartition("/")
    pattern = first[len(folder) :].lstrip("/").replace(_PLACEHOLDER, "*")
    root = base / (folder or "/" if first.startswith("/") else folder)
    found = (_expression(first).fullmatch(_relative(path, base, first)) for path in root.glob(pattern))
    names = sorted(match.group(1) for match in found if match)
    if not names:
        raise ManifestError(
            f"no file matches '{first}' below {base}", where=where, fix="check the folder and the pattern"
        )
    return names


def _expression(pattern: str) -> re.Pattern[str]:
    """`{name}` as a group, the same wherever it stands."""
    head, _, tail = pattern.partition(_PLACEHOLDER)
    again = r"\1".join(re.escape(part) for part in tail.split(_PLACEHOLDER))
    return re.compile(re.escape(head) + r"([^/]+)" + again)


def _relative(path: Path, base: Path, pattern: str) -> str:
    return str(path) if Path(pattern).is_absolute() else path.relative_to(base).as_posix()
