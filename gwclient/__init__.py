"""gwclient: the command line that streams strain into a store, reads it back, and operates it. It knows HTTP only.

`fetch` is the same for Python.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gwclient.sources.strain import Strain

__all__ = ["fetch"]


def fetch(
    channel: str,
    start: int | float | str | Decimal | Fraction,
    end: int | float | str | Decimal | Fraction | None = None,
    url: str = "http://127.0.0.1:8080",
    *,
    duration: int | float | str | Decimal | Fraction | None = None,
    gaps: str = "error",
    detector: str = "",
    rate: float | str = "",
    batch: str = "",
    timeout: float = 300.0,
) -> Strain:
    """The samples of a channel with `start <= t < end`, bit for bit as they were stored.

    BEARER_TOKEN, or BEARER_TOKEN_FILE, is sent as credentials.

    Args:
        channel: such as V1:Hrec_hoft_16384Hz.
        start: GPS time, seconds. Strings, `Decimal` and `Fraction` are exact; floats are as they print.
        end: likewise.
        url: of the store, or of one of its routes.
        duration: seconds, in place of `end`.
        gaps: `error`, or `nan` or `zero` for the samples that are not stored.
        detector: chooses one of several streams with that channel.
        rate: likewise, samples per second.
        batch: `open`, a number or the name of an archive; by default all.
        timeout: seconds without an answer after which to give up.

    Returns:
        The strain: `samples` (float64 array), `t0` and `rate` (`Fraction`, seconds and samples per second), `detector`,
        `channel`. numpy takes it as an array; `to_gwpy()` makes a `TimeSeries`.

    Raises:
        gwclient.errors.NoData: there is no such strain, or part of it is missing; the text says what there is.
        gwclient.errors.Refused: the store refuses the request, or several streams match.
        gwclient.errors.Unreachable: the store does not answer.
    """
    import io

    import numpy

    from gwclient.download import MemorySink, Request, download
    from gwclient.sources.strain import Strain, detector_of

    if gaps not in ("error", "nan", "zero"):
        raise ValueError(f"gaps must be error, nan or zero, not {gaps!r}")
    more = {"gaps": gaps, "detector": detector, "rate": str(rate), "batch": batch}
    sink = MemorySink()
    described = download(Request.of(url, "npy", channel, (start, end, duration), **more), sink, timeout)
    samples = numpy.load(io.BytesIO(sink.content))
    return Strain(samples, described.t0, described.rate, detector or detector_of(channel), channel)
