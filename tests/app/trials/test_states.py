"""Which state leads where."""

from __future__ import annotations

import itertools

import pytest

from app.errors import InternalError
from app.tables import TrialRecord
from app.trials.states import HELD, NEXT, OPEN, POOL, check_change, state_of

PAIRS = list(itertools.product(NEXT, NEXT))


@pytest.mark.parametrize(("before", "after"), PAIRS)
def test_only_changes_of_the_table_are_legal(before, after) -> None:
    if after in NEXT[before]:
        check_change(before, after)
    else:
        with pytest.raises(InternalError, match=f"follows '{before}'"):
            check_change(before, after)


def test_final_states_are_those_that_lead_nowhere_and_are_not_open() -> None:
    final = {state for state, following in NEXT.items() if not following}

    assert final == {"completed", "failed", "infeasible", "withdrawn"}
    assert set(OPEN) == set(NEXT) - final
    assert set(POOL) == set(OPEN) - {"leased"}
    assert set(HELD) == {state for state in NEXT if "completed" in NEXT[state]}


def test_every_state_of_the_pool_can_be_leased() -> None:
    assert all("leased" in NEXT[state] for state in POOL)


def test_the_unique_index_covers_just_the_open_states() -> None:
    (index,) = (one for one in TrialRecord.__table__.indexes if one.name == "uq_trials_open")
    where = str(index.dialect_options["sqlite"]["where"])

    assert {state for state in NEXT if f"'{state}'" in where} == set(OPEN)


def test_an_unknown_stored_state_is_named() -> None:
    with pytest.raises(InternalError, match="got 'running'"):
        state_of("running")
