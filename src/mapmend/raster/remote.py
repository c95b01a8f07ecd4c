"""Files elsewhere, read by ranges over https or from an object store, where the user has allowed it.

The permission is a variable of the environment, so that every process that a verb starts has it too.
"""

from __future__ import annotations

import os
import re
import urllib.request
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import cast
from urllib.error import HTTPError
from urllib.parse import urlsplit

from mapmend.core.errors import RasterError
from mapmend.core.provenance import file_stamp

VARIABLE = "MAPMEND_ALLOW_REMOTE"

_STORES = {"http": "/vsicurl/http://", "https": "/vsicurl/https://", "s3": "/vsis3/", "gs": "/vsigs/", "az": "/vsiaz/"}
_CURL = "/vsicurl/"
_BUCKETS = tuple(start for start in _STORES.values() if not start.startswith(_CURL))
_ADDRESS = re.compile(rf"(?:{_CURL})?({'|'.join(_STORES)}):/+(?=[^/])", re.IGNORECASE)
_SECONDS = 30  # that a server may take to say what it holds

SETTINGS: dict[str, object] = {
    "GDAL_HTTP_CONNECTTIMEOUT": 20,
    "GDAL_HTTP_TIMEOUT": 120,
    "GDAL_HTTP_MAX_RETRY": 4,
    "GDAL_HTTP_RETRY_DELAY": 1,
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": True,
    "GDAL_HTTP_MULTIPLEX": True,
}
"""Of GDAL, for what it fetches: it gives up, and asks for neighbouring blocks at once."""

OPENING: dict[str, object] = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}
"""Of GDAL, while a file is opened: it does not ask for files beside it."""


def allow_remote() -> None:
    """Let this process, and those that it starts, read files elsewhere."""
    os.environ[VARIABLE] = "1"


def with_slashes(path: str | Path) -> str:
    """A text that went through a `Path`, which makes one slash of two, as it was."""
    return re.sub(r"^([A-Za-z][A-Za-z0-9+.-]*):/+", r"\1://", str(path))


def is_remote(path: str | Path) -> bool:
    """Whether GDAL would take the text for a URL or one of its virtual file systems, chains included."""
    lowered = str(path).strip().lower()
    return lowered.startswith("/vsi") or re.match(r"[a-z][a-z0-9+.-]*:/", lowered) is not None


def remote_name(path: str | Path) -> str:
    """GDAL's name of a file elsewhere: a URL of http, https, s3, gs or az, or one of GDAL's own names for these.

    Raises:
        RasterError: it is not allowed, or of another kind.
    """
    text = with_slashes(path).strip()
    if os.environ.get(VARIABLE) != "1":
        raise RasterError("is a remote or virtual path", where=text, fix="give a local file, or --allow-remote")
    found = _ADDRESS.match(text)
    if found is not None:
        return _STORES[found[1].lower()] + text[found.end() :]
    if text.startswith(_BUCKETS):
        return text
    raise RasterError("is no path that is read from", where=text, fix=f"give a URL of {', '.join(_STORES)}")


def without_query(url: str) -> str:
    """An address without what is asked of its server, such as a signature."""
    return url.split("?")[0]


def stem(path: str | Path) -> str:
    """A file's name without its ending; of a URL without what is asked of the server."""
    text = str(path)
    return Path(without_query(text) if is_remote(text) else text).stem


def stamp(path: str | Path) -> list[object]:
    """As `file_stamp`; of a file elsewhere, its URL without the query, its size, tag and time, as its server has them.

    What lies in an object store is known by its name alone.

    Raises:
        RasterError: it is not allowed, or its server does not answer.
    """
    if not is_remote(path):
        return file_stamp(path)
    name = remote_name(path)
    if not name.startswith(_CURL):
        return [name]
    url = name.removeprefix(_CURL)
    return [without_query(url), *_headers(url)]


def fetch(path: str | Path) -> bytes:
    """The content of a small file, here or elsewhere.

    Raises:
        RasterError: it is not allowed or not there, or its server does not answer.
    """
    if not is_remote(path):
        try:
            return Path(path).read_bytes()
        except OSError as error:
            raise RasterError(f"cannot be read ({error.strerror})", where=path, fix="check the path") from None
    name = remote_name(path)
    if not name.startswith(_CURL):
        raise RasterError("is in an object store", where=path, fix="download it, or give its https address")
    with _asked(name.removeprefix(_CURL)) as answer:
        return bytes(answer.read())


def _headers(url: str) -> list[object]:
    try:
        answer = _asked(url, method="HEAD")
    except RasterError:  # a signed address may be for GET alone
        answer = _asked(url, headers={"Range": "bytes=0-0"})
    with answer:
        size = answer.headers.get("Content-Range", "").rpartition("/")[2] or answer.headers.get("Content-Length", "")
        return [size, answer.headers.get("ETag", ""), answer.headers.get("Last-Modified", "")]


def _asked(url: str, method: str = "GET", headers: dict[str, str] | None = None) -> HTTPResponse:
    """What a server answers, to be closed."""
    request, where = urllib.request.Request(url, headers=headers or {}, method=method), without_query(url)
    try:
        return cast(HTTPResponse, urllib.request.urlopen(request, timeout=_SECONDS))
    except HTTPError as error:
        what = f"is answered by {urlsplit(url).hostname} with {error.code} ({error.reason})"
        raise RasterError(what, where=where, fix="check the address") from None
    except (OSError, HTTPException, ValueError) as error:
        reason = str(getattr(error, "reason", error))
        raise RasterError(f"cannot be reached ({reason})", where=where, fix="check address and network") from None
