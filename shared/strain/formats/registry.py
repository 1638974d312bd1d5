"""The formats of `/strain`, by name: a format is added in one line."""

from __future__ import annotations

from collections.abc import Sequence

from shared.strain.formats import text
from shared.strain.formats.body import Binary, Body, Format
from shared.strain.series import Series


def npy_body(series: Sequence[Series]) -> Body:
    """NumPy's format 1.0 (numpy.lib.format): a header of 128 bytes, and the samples."""
    (one,) = series
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({one.n},), }}"
    return Binary(b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + f"{header:<117}\n".encode(), one)


FORMATS: dict[str, Format] = {
    format.name: format
    for format in (
        Format("json", "application/json", "json", True, text.json_body),
        Format("csv", "text/csv", "csv", True, text.csv_body),
        Format("txt", "text/plain", "txt", False, text.txt_body),
        Format("npy", "application/x-npy", "npy", False, npy_body),
        Format("raw", "application/octet-stream", "bin", False, lambda series: Binary(*series)),
    )
}

_EXTENSIONS = {"gwf": "gwf", "hdf5": "hdf5", "h5": "hdf5"}
FILES = {extension: FORMATS[name] for extension, name in _EXTENSIONS.items() if name in FORMATS}
"""The formats of `/data`, by extension."""
