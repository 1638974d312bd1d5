"""The version of the store."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def program_version() -> str:
    """The version of the store; 0 where it is run from a folder and not installed."""
    try:
        return version("dt-datastore")
    except PackageNotFoundError:
        return "0"
