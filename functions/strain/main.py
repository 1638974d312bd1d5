"""strain: strain by GPS time: GET /channels, their /coverage, samples by /strain and /data, what arrives by /live."""

from __future__ import annotations

import functions_framework.aio

from functions.strain import datafind, dqsegdb, gwosc
from functions.strain.file_urls import FileUrls
from functions.strain.listing import Listing
from functions.strain.live import Live
from functions.strain.samples import Samples
from functions.strain.streams import streams_of
from shared import config, web
from shared.catalog.catalog import Catalog
from shared.storage.reader import BatchReader
from shared.volume.layout import Layout
from shared.web.asgi import asgi_target


def routes(reader: BatchReader, max_span: int, settings: config.StrainConfig) -> web.Routes:
    """The routes of strain, and those of the field's clients."""
    catalog = Catalog(reader, Layout(reader.config))
    listing, samples = Listing(catalog), Samples(catalog, max_span)
    streams, urls = streams_of(catalog), FileUrls(settings)
    return {
        **datafind.routes(streams, urls.of_type, settings.datafind_seconds),
        **dqsegdb.routes(streams),
        **gwosc.routes(streams, urls.gwosc, settings.datafind_seconds),
        **urls.routes(samples.file),
        ("GET", "/channels"): listing.channels,
        ("GET", "/coverage"): listing.coverage,
        ("GET", "/strain"): samples.strain,
        ("GET", "/data/*"): samples.file,
        ("GET", "/live"): Live(reader, settings).live,
    }


def build() -> web.App:
    """Strain on its own: it reads the volume of the store, and saves indices there if it can."""
    reader = BatchReader(config.store_from_env())
    return web.App(routes(reader, config.limits_from_env().span, config.strain_from_env()), reader.check)


strain = functions_framework.aio.http(asgi_target("strain", build))
