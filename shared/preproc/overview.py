"""The overview of a batch: one picture of all channels over time, in which the loud ones are seen at once."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

_COLUMNS = 1200  # of time, more than the picture has pixels
_FAINTEST, _BRIGHTEST = 5.0, 100.0  # energy where colours begin, and end unless something is louder
_ROUNDING = 1e-4  # of a column, by which GPS times as doubles may miss its end
_MAX_LABELS = 256
_INCHES = 0.14  # height of a row with a label that can be read


class Overview:
    """Energies of the loudest pixels, by channel and time.

    Args:
        names: of the rows, from the top.
        begin, end: GPS times, seconds.

    Attributes:
        energies: an array, channels by time; NaN where there is no spectrogram.
    """

    def __init__(self, names: Sequence[str], begin: float, end: float) -> None:
        self._names, self._begin, self._end = names, begin, end
        self.energies: Any = numpy.full((len(names), _COLUMNS), numpy.nan, "f4")

    def add(self, row: int, t0: float, dt: float, energies: Sequence[float]) -> None:
        """Add the loudest pixels of a spectrogram's columns, `dt` seconds long, from the GPS time `t0` on."""
        scale = _COLUMNS / (self._end - self._begin)
        into = self.energies[row]
        for number, energy in enumerate(energies):
            first = (t0 + number * dt - self._begin) * scale
            low = min(max(floor(first + _ROUNDING), 0), _COLUMNS - 1)
            high = max(min(ceil(first + dt * scale - _ROUNDING), _COLUMNS), low + 1)
            into[low:high] = numpy.fmax(into[low:high], energy)

    def save(self, path: str) -> None:
        """Save the picture as PNG, with a row for each channel; grey is where there is no spectrogram."""
        count = len(self._names)
        every = -(-count // _MAX_LABELS)
        height = 1.6 + _INCHES * max(min(count, _MAX_LABELS), 8)
        figure = Figure(figsize=(12, height), layout="constrained")
        axes = figure.add_subplot(facecolor="0.8")
        loudest = max(_BRIGHTEST, float(numpy.nanmax(self.energies, initial=0)))
        image = axes.imshow(
            self.energies,
            aspect="auto",
            interpolation="nearest",
            interpolation_stage="data",
            norm=LogNorm(_FAINTEST, loudest),
            cmap=matplotlib.colormaps["viridis"].with_extremes(under=matplotlib.colormaps["viridis"](0)),
            extent=(0, self._end - self._begin, count - 0.5, -0.5),
        )
        labels = [name.replace("$", r"\$") for name in self._names]  # no formulas
        axes.set_yticks(range(0, count, every), labels[::every], fontsize=7)
        axes.set_xlabel(f"Seconds from GPS {self._begin!r}")
        axes.grid(visible=False)
        axes.set_title("Loudest pixel of each channel")
        figure.colorbar(image, label="Normalized energy", extend="min", extendfrac=0.02, aspect=4 * height)
        figure.savefig(path, dpi=100)
