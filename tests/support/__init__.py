"""Real servers, load, builders and checks, for the tests and the benchmarks."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
