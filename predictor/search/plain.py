"""Strategies that learn from values alone, measured or forecast, and so can search on a forecast inside of another one."""

from __future__ import annotations

from predictor.search.base import SearchStrategy
from predictor.search.controller import Controller
from predictor.search.evolution import RegularizedEvolution
from predictor.search.genetic import GeneticAlgorithm
from predictor.search.local_search import LocalSearch
from predictor.search.nsga2 import NSGA2
from predictor.search.q_learning import QLearning
from predictor.search.random_search import RandomSearch

PLAIN_STRATEGIES: tuple[type[SearchStrategy], ...] = (
    RandomSearch,
    LocalSearch,
    RegularizedEvolution,
    GeneticAlgorithm,
    NSGA2,
    Controller,
    QLearning,
)
