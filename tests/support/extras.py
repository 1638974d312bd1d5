"""Things a machine may lack: recorded strain, and the packages of the extras. Tests that need them are skipped."""

from __future__ import annotations

import importlib.util

import pytest

from tests.support import ROOT

STRAIN = ROOT.parent / "shared" / "data"  # strain of GW150914

needs_preproc = pytest.mark.skipif(not importlib.util.find_spec("gwpy"), reason="needs gwpy: make .venv/.extras")
