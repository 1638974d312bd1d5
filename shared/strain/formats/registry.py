"""The formats of `/strain`, by name: a format is added in one line."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import get_args

from shared.strain.formats import gwf, text
from shared.strain.formats.body import Binary, Body, Format
from shared.strain.formats.hdf5_body import Hdf5Body
from shared.strain.formats.hdf5_request import Layout
from shared.strain.series import Series


def npy_body(series: Sequence[Series]) -> Body:
    """NumPy's format 1.0 (numpy.lib.format): a header of 128 bytes, and the samples."""
    (one,) = series
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({one.n},), }}"
    return Binary(b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + f"{header:<117}\n".encode(), one)


def gwf_body(series: Sequence[Series]) -> Body:
    """GWF: what stands around the samples, and the samples."""
    around = gwf.parts([gwf.Series(one.name, one.t0, float(one.rate), one.n) for one in series])
    contents: list[bytes | Series] = [around[0]]
    for one, after in zip(series, around[1:], strict=True):
        contents += [one, after]
    return Binary(*contents)


def _hdf5(layout: Layout) -> Format:
    name = "hdf5" if layout == "gwpy" else f"hdf5.{layout}"
    return Format(name, "application/x-hdf5", "hdf5", True, functools.partial(Hdf5Body, layout))


HDF5: dict[str, Format] = {layout: _hdf5(layout) for layout in get_args(Layout)}
"""HDF5, by its layout; the first is the default."""

FORMATS: dict[str, Format] = {
    format.name: format
    for format in (
        Format("json", "application/json", "json", True, text.json_body),
        Format("csv", "text/csv", "csv", True, text.csv_body),
        Format("txt", "text/plain", "txt", False, text.txt_body),
        Format("npy", "application/x-npy", "npy", False, npy_body),
        Format("raw", "application/octet-stream", "bin", False, lambda series: Binary(*series)),
        Format("gwf", "application/octet-stream", "gwf", False, gwf_body),
        HDF5["gwpy"],
    )
}

_EXTENSIONS = {"gwf": "gwf", "hdf5": "hdf5", "h5": "hdf5"}
FILES = {extension: FORMATS[name] for extension, name in _EXTENSIONS.items()}
"""The formats of `/data`, by extension."""
