import errno
import os

import pytest

from mapmend.core.durable import replace_file
from mapmend.core.errors import DiskError, JobError


def test_an_older_file_is_replaced(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("old")
    replace_file(path, b"new")
    assert path.read_bytes() == b"new" and list(tmp_path.iterdir()) == [path]


def test_others_may_read_it_as_any_new_file(tmp_path):
    other = tmp_path / "other"
    other.touch()
    replace_file(tmp_path / "page", b"x")
    assert (tmp_path / "page").stat().st_mode == other.stat().st_mode


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, DiskError), (errno.EIO, JobError)])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, number, kind):
    path = tmp_path / "page.html"
    path.write_text("old")

    def fail(_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(kind, match="page.html"):
        replace_file(path, b"new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_place_that_is_no_folder_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(JobError, match="cannot be written"):
        replace_file(tmp_path / "file" / "page.html", b"x")
