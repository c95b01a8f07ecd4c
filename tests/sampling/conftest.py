"""For all tests of samples."""

import os

import pytest


@pytest.fixture(autouse=True)
def unsynced(monkeypatch):
    """No test cuts the power: files need not wait for the disk."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
