"""Strategies that learn from values alone, measured or forecast, and so can search on a forecast inside of another one."""

from __future__ import annotations

from predictor.search.base import SearchStrategy
from predictor.search.random_search import RandomSearch

PLAIN_STRATEGIES: tuple[type[SearchStrategy], ...] = (RandomSearch,)
