"""The main job on real input: strain streamed in 300-sample segments is read back from the files bit for bit."""

from __future__ import annotations

import array
import json
import math

import pytest

from tests.support.extras import STRAIN
from tests.support.load import post_all

CHUNK = 300


def real(detector):
    """(GPS start, sampling interval, samples) of a GWOSC file."""
    h5py = pytest.importorskip("h5py", reason="h5py reads the real strain")
    (path,) = STRAIN.glob(f"{detector[0]}-{detector}_LOSC_4_V2-*.hdf5")
    with h5py.File(path) as file:
        strain = file["strain/Strain"]
        return float(strain.attrs["Xstart"]), float(strain.attrs["Xspacing"]), strain[()].tolist()


def synthetic(detector):
    """A chirp in coloured noise, with the magnitudes and the awkward digits of real strain."""
    dt = 1 / 4096
    samples = [1e-21 * math.sin(i * i * 1e-4) + 1e-22 * math.sin(i * 0.7 + len(detector)) / 3 for i in range(40_000)]
    return 1126259446.0, dt, samples


@pytest.mark.parametrize("detector", ["L1", "H1"])
def test_strain_is_read_back_bit_for_bit_in_gps_order(store, detector):
    t0, dt, samples = (real if STRAIN.is_dir() else synthetic)(detector)
    bodies = [
        (f"{detector}-{start}", json.dumps({
            "h": samples[start : start + CHUNK], "t": [t0 + start * dt, dt],
            "detector": detector, "channel": f"{detector}:STRAIN",
        }).encode())
        for start in range(0, len(samples), CHUNK)
    ]  # fmt: skip
    sent = post_all(store.url("/sendF"), bodies, 8)
    assert {s.status for s in sent} == {201}
    stat = store.check_exact()
    assert stat == {"n_itm": math.ceil(len(samples) / CHUNK), "buff_size": sum(len(body) for _, body in bodies)}

    segments = sorted((json.loads(content) for content in store.files().values()), key=lambda s: s["t"][0])
    back = [h for segment in segments for h in segment["h"]]
    assert array.array("d", back).tobytes() == array.array("d", samples).tobytes()
    position = 0
    for segment in segments:
        assert segment["t"] == [t0 + position * dt, dt]
        position += len(segment["h"])
