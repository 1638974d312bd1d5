"""Descriptions of the routes of preproc, for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from shared import web
from shared.domain.messages import ProductList
from shared.errors import NoSuchRoute, NotFrozen, PreprocUnavailable
from shared.volume.made_files import TYPES

H = TypeVar("H", bound=Callable[..., Any])

_FILES = tuple(TYPES.values())
_NOT_MADE = (NotFrozen, PreprocUnavailable)

make = web.describe("Make the products of the frozen batch", answer=ProductList, status=201, errors=_NOT_MADE)
listing = web.describe("The products in place", answer=ProductList)
product = web.describe("A product", below="{name}", media=_FILES, errors=(NoSuchRoute,))
make_archived = web.describe(
    "Make the products of an archive", below="{name}/preproc", answer=ProductList, status=201, errors=_NOT_MADE
)


def archived(handler: H) -> H:
    """Describe what is served of an archive."""
    one = web.describe("A product of an archive", below="{name}/products/{product}", media=_FILES)
    return web.describe("The products of an archive", below="{name}/products", answer=ProductList)(one(handler))
