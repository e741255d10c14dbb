from __future__ import annotations

import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from predictor.contest import results as results_module
from predictor.contest.results import ResultKey, ResultStore
from predictor.errors import BenchmarkError

KEY = ResultKey("P1", "nasbench201/cifar100/accuracy", "Archcast and curve", "random", 0)


@pytest.fixture
def store(tmp_path) -> ResultStore:
    return ResultStore(tmp_path)


def test_what_is_saved_is_loaded(store, result) -> None:
    kept = [result(num_observations=0, nll=math.inf), result(num_observations=5)]

    store.save(KEY, kept)

    assert store.load() == kept
    assert store.load(["P1"]) == kept
    assert store.load(["P2"]) == []
    assert store.sizes_done(KEY, "1") == {0, 5}


def test_results_of_one_fingerprint_add_up(store, result) -> None:
    store.save(KEY, [result(num_observations=5)])
    store.save(KEY, [result(num_observations=0)])

    assert [one.num_observations for one in store.load()] == [0, 5]


def test_results_of_another_fingerprint_take_the_place_of_the_old_ones(store, result) -> None:
    store.save(KEY, [result(num_observations=5)])
    assert store.sizes_done(KEY, "2") == set()

    store.save(KEY, [result(num_observations=0, fingerprint="2")])

    assert [(one.num_observations, one.fingerprint) for one in store.load()] == [(0, "2")]


def test_keys_that_read_alike_have_files_of_their_own(store) -> None:
    names = ["a/b", "a_b", "a b", "a|b"]

    paths = {store.path(ResultKey("P1", name, contestant, "random", 0)) for name in names for contestant in names}

    assert len(paths) == 16
    assert all(store.folder in path.parents for path in paths)


def test_a_write_that_is_cut_short_leaves_nothing_and_harms_nothing(store, result, monkeypatch) -> None:
    store.save(KEY, [result(num_observations=5)])

    def cut_short(table, path) -> None:
        path.write_bytes(b"half a file")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(results_module.pq, "write_table", cut_short)
        with pytest.raises(KeyboardInterrupt):
            store.save(KEY, [result(num_observations=10)])

    assert [one.num_observations for one in store.load()] == [5]
    store.save(KEY, [result(num_observations=10)])
    assert [one.num_observations for one in store.load()] == [5, 10]


def test_results_of_an_earlier_form_count_as_missing(store) -> None:
    path = store.path(KEY)
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table({"fingerprint": ["1"], "num_observations": [5]}), path)

    assert store.load() == []
    assert store.sizes_done(KEY, "1") == set()


def test_a_file_that_holds_no_results_is_named(store) -> None:
    path = store.path(KEY)
    path.parent.mkdir(parents=True)
    path.write_text("no Parquet")

    with pytest.raises(BenchmarkError, match=r"seed0\.parquet"):
        store.load()


def test_results_from_before_a_score_was_thought_of_count_without_it(store, result) -> None:
    store.save(KEY, [result(num_observations=5, ood_error_rho=0.5)])
    path = store.path(KEY)
    pq.write_table(pq.ParquetFile(path).read().drop_columns(["ood_error_rho"]), path)

    (found,) = store.load()

    assert math.isnan(found.ood_error_rho)
    assert found.kendall_tau == result().kendall_tau
    assert store.sizes_done(KEY, "1") == {5}
