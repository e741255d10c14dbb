"""What searches are compared on: tasks of published tables, with what must not have been seen before.

- `task`: the asked data set is left out of meta-training; other tasks of its space are known and may be heard.
- `space`: the whole space is left out, and no related task is heard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from predictor.benchmarks.base import BenchmarkTask
from predictor.benchmarks.protocols import Case, protocols
from predictor.contest.contestants import sources_of
from predictor.contest.fidelities import FidelityTable
from predictor.contest.ours import related_among
from predictor.errors import BenchmarkError
from predictor.search.base import SearchProblem
from predictor.search.driving import TableLookUp
from predictor.search_spaces.listed import ListedSpace
from predictor.tasks import MeasuredTask, Observation, SupportSet

TASK, SPACE = "task", "space"
VIEWS: Mapping[str, Sequence[str]] = {TASK: ("P0", "P1"), SPACE: ("P2",)}
"""The protocols whose cases a view takes."""

SEARCHED = (
    *(f"nasbench201/{dataset}/accuracy" for dataset in ("cifar10", "cifar100", "imagenet16_120", "digits")),
    "nasbench101/cifar10/val_accuracy",
    *(f"transnas_micro/taskonomy_{name}" for name in ("jigsaw/val_accuracy", "autoencoder/ssim")),
    *(f"transnas_micro/taskonomy_{name}/val_accuracy" for name in ("class_scene", "class_object")),
    "transnas_micro/taskonomy_segmentsemantic/pixel_accuracy",
    "nasbench_macro/cifar10/accuracy",
    *(f"nasbench_graph/{name}/accuracy" for name in ("cora", "citeseer", "pubmed", "cs", "photo", "computers")),
)
"""Tasks that are searched."""

_TASK_LEFT_OUT = {"nasbench201/cifar10/accuracy": "nasbench201/cifar10/accuracy_under_fgsm_eps4"}
"""Tasks that no protocol of single tasks asks about, and one whose leave-out leaves them out, too."""


def search_cases(view: str) -> list[Case]:
    """The cases of a view, in the order of `SEARCHED`; tasks that the view cannot ask about are left out.

    Raises:
        BenchmarkError: if there is no such view.
    """
    if view not in VIEWS:
        raise BenchmarkError(f"expected one of {', '.join(VIEWS)}, got {view!r}")
    known: dict[str, Case] = {}
    for protocol in VIEWS[view]:
        for case in protocols()[protocol].cases:
            known.setdefault(case.task, case)
    found = []
    for task in SEARCHED:
        like = task if task in known else _TASK_LEFT_OUT.get(task, "")
        if like in known:
            case = known[like]
            found.append(Case(task, task, case.training, case.left_out, case.groups))
    return found


@dataclass(frozen=True, eq=False)
class SearchedTask:
    """One task as a search meets it: the table's architectures, each different one once, repeats averaged."""

    case: Case
    table: BenchmarkTask
    others: tuple[BenchmarkTask, ...] = ()  # of the same space, that may be heard

    @cached_property
    def measured(self) -> SupportSet:
        """All values."""
        pairs = zip(self.table.architectures, self.table.values, strict=True)
        return SupportSet.of(Observation(architecture, float(value)) for architecture, value in pairs)

    @cached_property
    def problem(self) -> SearchProblem:
        """The search of the table's architectures for its metric."""
        return SearchProblem(ListedSpace(self.table.space, self.table.architectures), (self.table.task.metric,))

    @cached_property
    def evaluate(self) -> TableLookUp:
        """Looks values up."""
        return TableLookUp.of(self.measured)

    @cached_property
    def fidelities(self) -> FidelityTable:
        """Looks values of smaller budgets up, too, and tells what they cost."""
        return FidelityTable.of(self.table, self.evaluate)

    @cached_property
    def optimum(self) -> float:
        """The best value in the table."""
        goodness = self.table.task.metric.sign * self.measured.targets
        return self.table.task.metric.sign * float(goodness.max())

    @cached_property
    def related(self) -> list[MeasuredTask]:
        """What a forecast of this task may hear."""
        return sources_of(related_among(self.table, self.others))


def searched_task(view: str, case: Case, tables: Mapping[str, BenchmarkTask]) -> SearchedTask | None:
    """The case's task, if its table is there."""
    table = tables.get(case.task)
    if table is None:
        return None
    allowed = [one for name, one in tables.items() if view == TASK and not case.leaves_out(name)]
    return SearchedTask(case, table, tuple(one for one in allowed if one.task.search_space == table.task.search_space))
