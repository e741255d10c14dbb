from __future__ import annotations

import itertools

import numpy as np
import pytest

from predictor.errors import InvalidDefinitionError, NotInSpaceError
from predictor.search_spaces.listed import ListedSpace
from predictor.search_spaces.nasbench_macro import NASBenchMacro
from predictor.search_spaces.transnas_micro import TransNASMicro

WHOLE = TransNASMicro()


@pytest.fixture(scope="module")
def listed() -> ListedSpace:
    rng = np.random.default_rng(0)
    return ListedSpace(WHOLE, [WHOLE.sample(rng) for _ in range(40)])


def test_whatever_it_draws_mutates_or_crosses_is_listed(listed) -> None:
    rng = np.random.default_rng(1)
    known = {one.hash for one in listed.enumerate()}
    drawn = [listed.sample(rng) for _ in range(20)]

    assert len(known) == listed.size()
    for first, second in itertools.pairwise(drawn):
        mutant = listed.mutate(first, rng)
        assert mutant.hash in known
        assert mutant.hash != first.hash
        assert listed.crossover(first, second, rng).hash in known
        assert {one.hash for one in listed.neighbours(first)} <= known - {first.hash}


def test_notation_and_features_are_those_of_the_whole_space(listed) -> None:
    one = next(listed.enumerate())

    assert listed.parse(listed.format(one)) == one
    assert listed.features(one) == WHOLE.features(one)
    assert np.array_equal(listed.features_of_all([one, one]), WHOLE.features_of_all([one, one]))


def test_what_is_not_listed_is_not_in_the_space(listed) -> None:
    known = {one.hash for one in listed.enumerate()}
    other = next(one for one in WHOLE.enumerate() if one.hash not in known)

    for use in (listed.format, listed.neighbours, lambda one: listed.parse(WHOLE.format(one))):
        with pytest.raises(NotInSpaceError, match="listed"):
            use(other)


def test_of_several_genotypes_of_one_network_the_first_counts() -> None:
    by_hash: dict[str, list] = {}
    for one in WHOLE.enumerate():
        by_hash.setdefault(one.hash, []).append(one)
    first, second = next(same for same in by_hash.values() if len(same) > 1)[:2]

    listed = ListedSpace(WHOLE, [first, second])

    assert listed.size() == 1
    assert listed.parse(WHOLE.format(second)).genotype == first.genotype
    assert listed.mutate(first, np.random.default_rng(0)) == first


def test_it_is_decided_step_by_step_only_where_everything_is_listed(listed) -> None:
    whole = NASBenchMacro()
    everything = ListedSpace(whole, list(whole.enumerate()))

    assert listed.stepwise() is None
    assert everything.stepwise() is whole.stepwise()


def test_nothing_is_no_space() -> None:
    with pytest.raises(InvalidDefinitionError, match="at least one"):
        ListedSpace(WHOLE, [])
