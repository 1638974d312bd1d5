"""Strain to spectrogram: whitening and Q-transform by gwpy, written as HDF5 and drawn as PNG. The only user of gwpy.

gwpy is GPL-3. This module runs in a process of its own (`shared.preproc.job`) and nothing that stores segments
imports it.
"""

from __future__ import annotations

import os
from array import array
from math import ceil, floor, log2

import matplotlib

matplotlib.use("Agg")

import numpy
from gwpy.spectrogram import Spectrogram
from gwpy.timeseries import TimeSeries
from PIL import Image

from shared.preproc.pieces import FRANGE
from shared.strain.joining import ChannelStrain

_BRIGHTEST = 25.5  # where the colours end, as in the Omega scans that Gravity Spy's classifiers are trained on
_COLUMNS = 1200  # of the picture; a mesh of every pixel would take ten times the memory
_THUMBNAIL = (192, 96)  # pixels, width and height


def parameters(duration: float) -> dict[str, object]:
    """Choose gwpy's parameters for contiguous strain of this many seconds.

    From 8 s on they are gwpy's defaults. Shorter strain gets shorter filters, a power of two of seconds, so that the
    median spectrum averages over seven stretches or more, and for less than 4 s a lower greatest Q: a 1 s sample
    works with 0.25 s and Q from 4 to 32. Pixels are 1/1024 s long, and up to 1/128 s for longer strain, so that a
    blip glitch still fills one.
    """
    fftlength = min(2.0, 2.0 ** floor(log2(duration / 4)))
    return {
        "fftlength": fftlength,
        "fduration": fftlength,
        "qrange": (4.0, 64.0) if duration >= 4 else (4.0, 32.0),
        "tres": min(1 / 128, max(1 / 1024, 2.0 ** ceil(log2(duration / 4096)))),
    }


def write(
    folder: str, samples: array[float], t0: float, stream: ChannelStrain, *, thumbnail: bool = False
) -> tuple[dict[str, object], tuple[float, float, array[float]]]:
    """Write `spectrogram.hdf5` and `spectrogram.png` into `folder`, and `thumbnail.png` if it is wanted.

    The half filter length at either end, which whitening spoils, is left out. Pixels hold the energy of the best
    Q plane, normalised to a median of one in every row (Chatterji et al. 2004, doi:10.1088/0264-9381/21/20/024).

    Args:
        folder: an existing folder.
        samples: contiguous strain, float64, at least `pieces.MIN_DURATION` seconds of it.
        t0: GPS time of the first sample, seconds.
        stream: names the detector and the channel, and says how many samples make a second.
        thumbnail: whether to draw a small picture too, without axes.

    Returns:
        What was done: parameters, shape (time by frequency), Q, GPS span, and the loudest pixel. And the energy of the
        loudest pixel of every column, or of every few: GPS time of the first, seconds between them, energies.

    Raises:
        Exception: whatever gwpy raises, for instance FloatingPointError for strain that is zero throughout.
    """
    detector, channel, rate = stream.detector, stream.channel, stream.rate
    strain = TimeSeries(numpy.frombuffer(samples), t0=t0, sample_rate=rate, unit="strain", name=detector or "strain")
    duration = len(samples) / rate
    chosen = parameters(duration)
    spoilt = float(str(chosen["fduration"])) / 2
    spectrogram = strain.q_transform(frange=FRANGE, logf=False, outseg=(t0 + spoilt, t0 + duration - spoilt), **chosen)
    if not numpy.isfinite(spectrogram.value).all():
        raise FloatingPointError("the Q-transform is not finite")
    spectrogram.name = channel or detector or "strain"
    if channel:
        spectrogram.channel = channel
    spectrogram.write(os.path.join(folder, "spectrogram.hdf5"), format="hdf5", path="spectrogram")
    picture = _downsample_max(spectrogram)
    _draw(os.path.join(folder, "spectrogram.png"), picture)
    if thumbnail:
        _draw_thumbnail(os.path.join(folder, "thumbnail.png"), spectrogram)
    row, column = numpy.unravel_index(spectrogram.value.argmax(), spectrogram.shape)
    about: dict[str, object] = {
        **chosen,
        "q": float(spectrogram.q),
        "shape": spectrogram.shape,
        "span": [float(spectrogram.xspan[0]), float(spectrogram.xspan[1])],
        "loudest": {
            "gps": float(spectrogram.times.value[row]),
            "frequency": float(spectrogram.frequencies.value[column]),
            "energy": float(spectrogram.value[row, column]),
        },
    }
    loudest = array("d", picture.value.max(axis=1).astype("f8").tobytes())
    return about, (float(picture.x0.value), float(picture.dx.value), loudest)


def _draw(path: str, picture: Spectrogram) -> None:
    plot = picture.plot(figsize=(12, 6), vmin=0, vmax=_BRIGHTEST, rasterized=True)
    axes = plot.gca()
    axes.set_epoch(
        round(picture.x0.value)
    )  # gwpy's own choice, which costs a fifth of a second to find again and again
    axes.set_yscale("log")
    axes.set_ylim(*FRANGE)
    axes.set_yticks((20, 30, 50, 100, 200, 300, 500), labels=("20", "30", "50", "100", "200", "300", "500"))
    axes.set_ylabel("Frequency [Hz]")
    axes.set_title(picture.name)
    axes.grid(visible=False)
    axes.colorbar(label="Normalized energy", extend="max")
    plot.savefig(path, dpi=100)
    plot.close()


def _downsample_max(spectrogram: Spectrogram) -> Spectrogram:
    """The same spectrogram with the loudest of every few columns, so that no short glitch is lost in drawing."""
    factor = ceil(spectrogram.shape[0] / _COLUMNS)
    # The last column has fewer, where they do not come out even.
    loudest = numpy.maximum.reduceat(spectrogram.value, numpy.arange(0, spectrogram.shape[0], factor), axis=0)
    return Spectrogram(
        loudest,
        t0=spectrogram.x0,
        dt=spectrogram.dx * factor,
        f0=spectrogram.y0,
        df=spectrogram.dy,
        name=spectrogram.name,
    )


def _draw_thumbnail(path: str, spectrogram: Spectrogram) -> None:
    """The loudest pixel of each part of the plane, time by logarithmic frequency, in the colours of the picture."""
    width, height = _THUMBNAIL
    columns, rows = spectrogram.shape
    lows = numpy.searchsorted(spectrogram.frequencies.value, numpy.geomspace(*FRANGE, height, endpoint=False))
    starts = numpy.linspace(0, columns, min(width, columns), endpoint=False).astype(int)
    by_time = numpy.maximum.reduceat(spectrogram.value, starts, axis=0)
    pixels = numpy.maximum.reduceat(by_time, lows.clip(0, rows - 1), axis=1)
    colours = (matplotlib.colormaps["viridis"](numpy.arange(256))[:, :3] * 255).round().astype("uint8")
    scaled = (pixels.T[::-1] / _BRIGHTEST * 255).clip(0, 255).astype("uint8")
    image = Image.fromarray(scaled, mode="L").resize(_THUMBNAIL, Image.Resampling.NEAREST)
    image.putpalette(colours.tobytes())  # a third of the bytes of three colours
    image.save(path, optimize=True)
