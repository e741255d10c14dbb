"""Searches whose every evaluation is a training, beside each other at equal cost, and their winners trained once more.

A search decides by validation accuracy of trainings with one seed, so its best was lucky, too. What it found is therefore trained
again with other seeds and scored on the test part, which nothing was chosen by.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

from predictor.architecture import Architecture
from predictor.baselines.base import FewShotPredictor
from predictor.benchmarks.base import BenchmarkTask
from predictor.contest.contestants import sources_of
from predictor.contest.fingerprints import digest
from predictor.contest.ours import own_fingerprint
from predictor.contest.training_journal import (
    JournaledTraining,
    TrainedOnce,
    TrainingJournal,
    append_line,
    read_lines,
)
from predictor.errors import BenchmarkError, CheckpointError
from predictor.meta_predictor import MetaPredictor
from predictor.search.base import Outcome, Proposal, SearchProblem
from predictor.search.driving import Budget, run_search
from predictor.search.forecasting import ForecastTask, LocalForecaster, WithRelated
from predictor.search.registry import make_strategy
from predictor.search_spaces.base import SearchSpace
from predictor.searching import Sloping
from predictor.surrogate.related_tasks import MIN_OBSERVATIONS, are_related
from predictor.tasks import Metric, Task

SEARCHING_SEED = 0
"""Of all trainings that searches decide by, so that searches which meet the same architecture share its training."""

ACCURACY = Metric("accuracy", "%", "maximize")
ALONE, WITH_SHIPPED, WITH_PUBLISHED = "Archcast", "Archcast, tasks of the package", "Archcast, published tasks"
_REVISION = "1"
"""Raise it when contestants do something else than before: their searches are run anew then."""

_MOST = 1_000_000  # evaluations: others end a search


@dataclass(frozen=True)
class TrainedContestant:
    """A strategy with its settings, by itself or with forecasts of a predictor of the task."""

    name: str
    strategy: str
    settings: Mapping[str, object] = field(default_factory=dict)
    predictor_for: Callable[[Task, SearchSpace], FewShotPredictor] | None = None
    known: str = ""  # digest of what the predictor knows

    @property
    def fingerprint(self) -> str:
        """Changes when it would propose something else."""
        return digest(_REVISION, self.name, self.strategy, str(sorted(self.settings.items())), self.known)


def measuring_contestants() -> list[TrainedContestant]:
    """Without forecasts. Budgets are dozens here, so fewer live at a time than where they are hundreds: with the usual twenty,
    evolution would be random search for as long."""
    return [
        TrainedContestant("random", "random"),
        TrainedContestant("evolution", "evolution", {"population": 8, "tournament": 3}),
    ]


def own_contestants(
    version: MetaPredictor, shipped: Sequence[BenchmarkTask], published: Sequence[BenchmarkTask] = ()
) -> list[TrainedContestant]:
    """The version with no other task's measurements, with those of the package, and with published ones too, if there are any."""
    heard = {ALONE: (), WITH_SHIPPED: tuple(shipped)} | ({WITH_PUBLISHED: tuple(published)} if published else {})
    return [_hearing(name, version, others) for name, others in heard.items()]


def _hearing(name: str, version: MetaPredictor, others: Sequence[BenchmarkTask]) -> TrainedContestant:
    @cache
    def predictor_for(task: Task, space: SearchSpace) -> FewShotPredictor:
        related = [one for one in others if are_related(task, one.task) and len(one) >= MIN_OBSERVATIONS]
        return WithRelated(Sloping(version), task, space, sources_of(related))

    known = digest(own_fingerprint(version), *sorted(f"{one.task.name} {len(one)}" for one in others))
    return TrainedContestant(name, "bayesian", {}, predictor_for, known)


def check_unseen(version: MetaPredictor, dataset: str) -> None:
    """A version that was trained on a data set, chosen by it or calibrated on it must not search on it here.

    Raises:
        CheckpointError: if the name of such a data set is a part of this one's.
    """
    manifest = version.manifest
    kept_out = manifest.get("kept_out", {})
    used = [*manifest.get("trained_on", ()), *kept_out.get("validation", ()), *manifest.get("fine_tuned_on", ())]
    for seen in sorted({name.split("/")[1] for name in used}):
        if seen in dataset:
            raise CheckpointError(
                f"expected a data set that the version has not seen, got {dataset!r}, and it was trained on {seen!r}"
            )


@dataclass(frozen=True)
class Spending:
    """How long a search goes on: until it has done so many trainings, and has used so many processor seconds for them.

    Raises:
        BenchmarkError: if it is nothing.
    """

    trainings: int
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.trainings < 1 or not 0.0 <= self.seconds < float("inf"):
            raise BenchmarkError(
                f"expected at least 1 training and 0 or more seconds, got {self.trainings} and {self.seconds}"
            )

    def is_over(self, trainings: int, seconds: float) -> bool:
        """After so much."""
        return trainings >= self.trainings and seconds >= self.seconds


@dataclass(frozen=True)
class Course:
    """One search: what it trained, in order, and the processor seconds that it thought before each."""

    contestant: str
    fingerprint: str
    recipe: str
    about: str  # data set and recipe, for people
    seed: int
    architectures: list[str]  # hashes
    training_seconds: list[float]
    thinking_seconds: list[float]

    def is_enough(self, spending: Spending) -> bool:
        """Whether it went on for that long."""
        return spending.is_over(len(self.architectures), sum(self.training_seconds))

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What no two searches share."""
        return self.contestant, self.fingerprint, self.recipe, self.seed


class Courses:
    """Searches that ended, in a file of JSON lines; a longer one takes the place of a shorter.

    Raises:
        BenchmarkError: if it holds something else.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._courses: dict[tuple[str, str, str, int], Course] = {}
        for row in read_lines(path):
            try:
                known = Course(**row)
            except TypeError as error:
                raise BenchmarkError(f"{path}: expected a search in every line, got {str(row)[:120]}") from error
            self._courses[known.key] = known

    def __iter__(self) -> Iterator[Course]:
        return iter(self._courses.values())

    def get(self, key: tuple[str, str, str, int]) -> Course | None:
        """That search, if it ended."""
        return self._courses.get(key)

    def add(self, course: Course) -> None:
        """Keeps it for good."""
        append_line(self._path, asdict(course))
        self._courses[course.key] = course


@dataclass(frozen=True)
class TrainedSearches:
    """Runs searches of one data set by one recipe."""

    training: JournaledTraining
    courses: Courses
    about: str

    @property
    def task(self) -> Task:
        """What forecasts are of."""
        return Task(self.training.evaluator.space.name, self.training.evaluator.dataset.name, ACCURACY)

    def course(self, one: TrainedContestant, spending: Spending, seed: int, on_training: OnTraining) -> Course:
        """A search that is long enough; what is in the journal is not trained again, though it is counted with its seconds.

        Raises:
            SearchError: if the contestant cannot search this space.
        """
        known = self.courses.get((one.name, one.fingerprint, self.training.recipe, seed))
        if known is not None and known.is_enough(spending):
            return known
        found = self._searched(one, spending, seed, on_training)
        self.courses.add(found)
        return found

    def _searched(self, one: TrainedContestant, spending: Spending, seed: int, on_training: OnTraining) -> Course:
        ended = time.process_time()
        problem = SearchProblem(self.training.evaluator.space, (ACCURACY,))
        forecaster = None
        if one.predictor_for is not None:
            predictor = one.predictor_for(self.task, problem.space)
            forecaster = LocalForecaster(problem, [ForecastTask(self.task, predictor)])
        course = Course(one.name, one.fingerprint, self.training.recipe, self.about, seed, [], [], [])

        def evaluate(proposal: Proposal) -> Outcome:
            nonlocal ended
            course.thinking_seconds.append(time.process_time() - ended)
            row = self.training.trained(proposal.architecture, SEARCHING_SEED)
            course.architectures.append(row.architecture)
            course.training_seconds.append(row.processor_seconds)
            on_training(one.name, seed, row)
            ended = time.process_time()
            return Outcome(proposal.architecture, None if row.validation_percent is None else (row.validation_percent,))

        strategy = make_strategy(one.strategy, problem, one.settings, seed)
        run_search(
            problem, strategy, evaluate, Budget(_MOST), forecaster,
            is_enough=lambda _outcome: course.is_enough(spending), seed=seed,
        )  # fmt: skip
        return course

    def winners(self, course: Course, spending: Spending) -> list[Architecture]:
        """The best by validation after so many trainings, and after so many seconds: one or two."""
        rows = [
            incumbent(self.rows(course), count)
            for count in (spending.trainings, trainings_within(course.training_seconds, spending.seconds))
        ]
        texts = dict.fromkeys(row.genotype for row in rows if row is not None)
        return [self.training.evaluator.space.parse(text) for text in texts]

    def rows(self, course: Course) -> list[TrainedOnce]:
        """The trainings of a search, in order."""
        return rows_of(course, self.training.journal)


OnTraining = Callable[[str, int, TrainedOnce], None]
"""Called with contestant, seed and training whenever a search knows another one."""


def rows_of(course: Course, journal: TrainingJournal) -> list[TrainedOnce]:
    """The trainings of a search, in order.

    Raises:
        BenchmarkError: if the journal lacks one.
    """
    found = [journal.get(course.recipe, name, SEARCHING_SEED) for name in course.architectures]
    known = [row for row in found if row is not None]
    if len(known) < len(found):
        raise BenchmarkError(
            f"expected every training of {course.contestant}, seed {course.seed}, in {journal.path}, "
            f"which lacks {len(found) - len(known)}"
        )
    return known


def incumbent(rows: Sequence[TrainedOnce], count: int) -> TrainedOnce | None:
    """The best by validation accuracy of the first so many trainings; of equals the first, None if none has one."""
    tried = [row for row in rows[:count] if row.validation_percent is not None]
    return max(tried, key=lambda row: row.validation_percent or 0.0, default=None)


def trainings_within(seconds: Sequence[float], budget: float) -> int:
    """How many had ended by then."""
    total, count = 0.0, 0
    for one in seconds:
        total += one
        if total > budget + 1e-9:
            break
        count += 1
    return count
