"""Searches by training as Markdown tables: after equal numbers of trainings, after equal seconds, and winners trained again.

Notation: R searches of one contestant (seeds).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from predictor.contest.report import table
from predictor.contest.trained_searches import (
    SEARCHING_SEED,
    Course,
    Spending,
    incumbent,
    rows_of,
    trainings_within,
)
from predictor.contest.training_journal import TrainedOnce, TrainingJournal

_COUNTS = (5, 10, 25, 50, 100)
_SHARES = (0.25, 0.5, 1.0)
_MISSING = "–"


@dataclass(frozen=True)
class _Searched:
    """One search with its trainings, and the winners' other trainings."""

    course: Course
    rows: list[TrainedOnce]
    journal: TrainingJournal

    def after(self, count: int) -> TrainedOnce | None:
        return incumbent(self.rows, count)

    def within(self, seconds: float) -> TrainedOnce | None:
        return self.after(trainings_within(self.course.training_seconds, seconds))

    def within_with_thinking(self, seconds: float) -> TrainedOnce | None:
        both = zip(self.course.training_seconds, self.course.thinking_seconds, strict=True)
        return self.after(trainings_within([sum(pair) for pair in both], seconds))

    def again(self, winner: TrainedOnce | None) -> list[float]:
        """Test accuracies of trainings with other seeds."""
        if winner is None:
            return []
        return [
            row.test_percent
            for row in self.journal
            if (row.recipe, row.architecture) == (winner.recipe, winner.architecture)
            and row.seed != SEARCHING_SEED
            and row.test_percent is not None
        ]


def trained_report(courses: Iterable[Course], journal: TrainingJournal, spending: Spending) -> str:
    """One part for each data set and recipe. Left out are searches that ended sooner than `spending` says, and those of contestants
    that have become others since, such as an earlier version."""
    known = list(courses)
    latest = {(one.recipe, one.contestant): one.fingerprint for one in known}  # the last one counts
    current = [one for one in known if one.fingerprint == latest[one.recipe, one.contestant]]
    whole = [one for one in current if one.is_enough(spending)]
    parts = []
    for recipe in dict.fromkeys(one.recipe for one in whole):
        own = [_Searched(one, rows_of(one, journal), journal) for one in whole if one.recipe == recipe]
        parts.append(_part(own, journal, spending))
    return "\n\n".join(parts) + ("\n" if parts else "")


def _part(searches: Sequence[_Searched], journal: TrainingJournal, spending: Spending) -> str:
    seconds = spending.seconds or min(sum(one.course.training_seconds) for one in searches)
    recipe = searches[0].course.recipe
    best = max(
        (row.validation_percent or 0.0 for row in journal if row.recipe == recipe and row.seed == SEARCHING_SEED),
        default=0.0,
    )
    return "\n\n".join(
        [
            f"**{searches[0].course.about}**",
            "Mean ± standard deviation over searches. "
            f"Best validation accuracy of any training here: {best:.2f} %, which regret is counted from.",
            "After equal numbers of trainings: regret of validation accuracy, then test accuracy of the best by validation, %",
            _by_count(searches, best, spending.trainings),
            f"After equal processor seconds for trainings ({seconds:.3g} in all): test accuracy of the best by validation, %",
            _by_seconds(searches, seconds),
            "The best by validation, trained again with other seeds: test accuracy, %",
            _again(searches, spending),
        ]
    )


def _rows(searches: Sequence[_Searched], cells: Callable[[list[_Searched]], list[str]]) -> list[list[str]]:
    """One for each contestant."""
    names = dict.fromkeys(one.course.contestant for one in searches)
    return [[name, *cells([one for one in searches if one.course.contestant == name])] for name in names]


def _by_count(searches: Sequence[_Searched], best: float, trainings: int) -> str:
    counts = [*(one for one in _COUNTS if one < trainings), trainings]
    header = ["", *(f"regret at {one}" for one in counts), *(f"test at {one}" for one in counts), "searches"]

    def cells(own: list[_Searched]) -> list[str]:
        regrets = [_spread([best - (row.validation_percent or 0.0) for row in _known(own, n)]) for n in counts]
        tested = [_tested([one.after(n) for one in own]) for n in counts]
        return [*regrets, *tested, str(len(own))]

    return table(header, _rows(searches, cells))


def _by_seconds(searches: Sequence[_Searched], seconds: float) -> str:
    points = [share * seconds for share in _SHARES]
    header = [
        "",
        *(f"at {one:.3g} s" for one in points),
        f"at {seconds:.3g} s, thinking counted",
        f"trainings in {seconds:.3g} s",
        "seconds of thinking before each",
    ]

    def cells(own: list[_Searched]) -> list[str]:
        tested = [_tested([one.within(point) for one in own]) for point in points]
        thinking = [float(np.mean(one.course.thinking_seconds)) for one in own]
        counts = [float(trainings_within(one.course.training_seconds, seconds)) for one in own]
        with_thinking = _tested([one.within_with_thinking(seconds) for one in own])
        return [*tested, with_thinking, f"{np.mean(counts):.1f}", f"{np.mean(thinking):.2f}"]

    return table(header, _rows(searches, cells))


def _again(searches: Sequence[_Searched], spending: Spending) -> str:
    trainings, seconds = spending.trainings, spending.seconds
    by_seconds = [f"winner of {seconds:.3g} s"] if seconds else []
    header = [
        *("", f"winner of {trainings} trainings", *by_seconds),
        *("between trainings of one winner", "different winners", "searches"),
    ]

    def cells(own: list[_Searched]) -> list[str]:
        by_count = [one.again(one.after(trainings)) for one in own]
        timed = [one.again(one.within(seconds)) for one in own]
        spreads = [float(np.std(one, ddof=1)) for one in by_count if len(one) > 1]
        return [
            _spread([float(np.mean(one)) for one in by_count if one]),
            *([_spread([float(np.mean(one)) for one in timed if one])] if seconds else []),
            f"± {np.mean(spreads):.2f}" if spreads else _MISSING,
            str(len({row.architecture for row in _known(own, trainings)})),
            str(sum(1 for one in by_count if one)),
        ]

    return table(header, _rows(searches, cells))


def _known(searches: Sequence[_Searched], count: int) -> list[TrainedOnce]:
    return [row for one in searches if (row := one.after(count)) is not None]


def _tested(rows: Sequence[TrainedOnce | None]) -> str:
    return _spread([row.test_percent for row in rows if row is not None and row.test_percent is not None])


def _spread(values: Sequence[float]) -> str:
    """Mean and standard deviation."""
    if not values:
        return _MISSING
    return f"{np.mean(values):.2f}" + (f" ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else "")
