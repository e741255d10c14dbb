from __future__ import annotations

import sys

import pytest

from predictor.contest.fingerprints import code_digest, digest


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Writes modules of a package and answers the digest of its module `main`."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def of(**sources: str) -> str:
        folder = tmp_path / "digested"
        folder.mkdir(exist_ok=True)
        (folder / "__init__.py").touch()
        for name, source in sources.items():
            (folder / f"{name}.py").write_text(source)
        code_digest.cache_clear()
        return code_digest("digested.main", ("digested",))

    yield of
    code_digest.cache_clear()
    sys.modules.pop("digested", None)


def test_comments_docstrings_and_formatting_do_not_count_and_code_does(package) -> None:
    plain = package(main="def f(x):\n    return x + 1\n")

    assert package(main='"""About."""\n\ndef f( x ):  # adds\n    """One more."""\n    return (x + 1)\n') == plain
    assert package(main="def f(x):\n    return x + 2\n") != plain


def test_what_is_imported_counts_too_directly_or_not(package) -> None:
    first = package(main="from digested.middle import f", middle="from digested import last", last="A = 1")

    assert package(last="A = 2") != first
    assert package(last="A = 1") == first


def test_a_cycle_of_imports_ends(package) -> None:
    assert package(main="import digested.other", other="import digested.main")


def test_texts_are_told_apart() -> None:
    assert digest("a", "b") != digest("a", "c")
    assert len(digest("a")) == 12
