"""Open data of an event, located and downloaded from GWOSC."""

from __future__ import annotations

import re
import tempfile
from fractions import Fraction
from math import ceil
from pathlib import Path

from gwclient.errors import NoData, Unreachable
from gwclient.sources import hdf5
from gwclient.sources.strain import Strain

GWOSC = "https://gwosc.org"
_TIMEOUT = 5.0  # seconds after which the internet counts as absent


def from_event(
    event: str, detector: str, window: tuple[Fraction, Fraction], rate: int = 4096, host: str = GWOSC
) -> Strain:
    """Open data of an event, from `window[0]` seconds before its GPS time to `window[1]` seconds after.

    Raises:
        Unreachable: there is no internet, or GWOSC does not answer; known within seconds.
        NoData: there is no such event, or no such data of it.
    """
    import requests  # by gwosc, which this module shares its HTTP client with
    import tenacity
    from gwosc.api import v2
    from gwosc.locate import get_event_urls

    try:
        requests.get(f"{host}/api/v2/", timeout=_TIMEOUT)  # because gwosc itself would try for minutes
        # GWOSC answers 404 for an unknown event and for one that is not public.
        gps = Fraction(str(v2.fetch_event_version(event, host=host)["gps"]))
        begin, end = float(gps - window[0]), float(gps + window[1])
        urls = get_event_urls(event, detector=detector, start=int(begin), end=ceil(end), sample_rate=rate, host=host)
    except requests.HTTPError as error:
        if error.response is not None and error.response.status_code == 404:
            raise NoData(f"GWOSC has no event {event!r}") from None
        raise Unreachable(f"GWOSC: {error}") from None
    except (requests.RequestException, tenacity.RetryError) as error:
        raise Unreachable(f"no open data: {host} does not answer ({error}); is there internet? Try --sample") from None
    except (ValueError, KeyError) as error:
        raise NoData(f"no open data of {detector} for {event}: {error}") from None
    if not urls:
        raise NoData(f"{detector} has no open data for {event}: it was not observing")
    # An event has files of 32 s and of 4096 s; the longer ones are 100 MB and rarely needed.
    shortest = next((url for url in sorted(urls, key=_duration) if _covers(url, begin, end)), max(urls, key=_duration))
    return _download(shortest, detector).around(gps, *window)


def _covers(url: str, begin: float, end: float) -> bool:
    found = re.search(r"-(\d+)-(\d+)\.\w+$", url)
    return found is not None and int(found[1]) <= begin and end <= int(found[1]) + int(found[2])


def _duration(url: str) -> int:
    """Seconds in a GWOSC file, from its name: `L-L1_GWOSC_4KHZ_R1-1126259447-32.hdf5` holds 32 s."""
    found = re.search(r"-(\d+)\.\w+$", url)
    return int(found[1]) if found else 1 << 31


def _download(url: str, detector: str) -> Strain:
    import requests

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / (url.rsplit("/", 1)[-1] or "strain.hdf5")
        try:
            with requests.get(url, timeout=_TIMEOUT, stream=True) as response, path.open("wb") as file:
                response.raise_for_status()
                for part in response.iter_content(1 << 18):
                    file.write(part)
        except requests.RequestException as error:
            raise Unreachable(f"{url}: {error}") from None
        return hdf5.read(path, detector)
