"""The document of GET /products."""

from __future__ import annotations

from shared.decoding import convert
from shared.domain.messages import ProductList
from shared.preproc import products
from shared.preproc.runner import PreprocRunner


def listing_of(preproc: PreprocRunner) -> dict[str, object]:
    """The document of GET /products: the products in place, and how far those of the open batch have come."""
    return {**products.listing(preproc.layout.products), "preproc": preproc.status()}


def product_list(preproc: PreprocRunner) -> ProductList:
    """The same as a value."""
    return convert(listing_of(preproc), ProductList)
