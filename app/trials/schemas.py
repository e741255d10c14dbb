"""The documents of trials."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from app.candidates.schemas import Acquisition
from app.observations.schemas import Reason
from app.schemas import FiniteNumber, NotationForm, Reply, RequestBody, SeedNumber
from app.trials.states import TrialState

MAX_LEASE_SECONDS = 7 * 24 * 3600.0
DEFAULT_LEASE_SECONDS = 600.0
MAX_SUGGESTED = 256
DEFAULT_THRESHOLD = 0.05

Source = Literal["yours", "pool", "new"]
WorkerId = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9._:@/-]{1,128}$",
        description="Your name for whoever measures, one for each process: asking again under it answers what it has.",
    ),
]
LeaseSeconds = Annotated[FiniteNumber, Field(ge=1.0, le=MAX_LEASE_SECONDS)]


class SuggestIn(RequestBody):
    """A worker that has time."""

    worker_id: WorkerId
    count: Annotated[int, Field(ge=1, le=MAX_SUGGESTED)] = Field(default=1, description="How many trials at most.")
    lease_seconds: LeaseSeconds = Field(
        default=DEFAULT_LEASE_SECONDS, description="How long each is yours without a heartbeat."
    )
    acquisition: Acquisition = Field(default="ucb", description="What makes an architecture worth measuring.")
    kappa: Annotated[FiniteNumber, Field(ge=0.0, le=100.0)] = Field(
        default=1.0, description="Optimism of `ucb`, in standard deviations."
    )
    diversity: Annotated[FiniteNumber, Field(ge=0.0, le=10.0)] = Field(
        default=0.3, description="How strongly likeness to what is out and to each other is avoided."
    )
    constraints: Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=8)] = Field(
        default_factory=list, description="Such as `latency_ms<=12`, as with candidates."
    )
    pool: Annotated[int, Field(ge=10, le=10_000)] = Field(
        default=1_000, description="Random architectures that the search of a large space starts from."
    )
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = Field(default=None, description="Leave out for a new one.")
    only_requested: bool = Field(
        default=False, description="Only what somebody asked for, such as a search: nothing new is suggested."
    )


class RequestIn(RequestBody):
    """Architectures that somebody wants to be measured."""

    architectures: Annotated[list[NotationForm], Field(min_length=1, max_length=1_000)] = Field(
        description="In the notation of the task's search space, as DAGs, or by id."
    )


class MeasuredIn(RequestBody):
    """One measured value of a trial's architecture."""

    value: FiniteNumber = Field(description="In the metric's unit.")
    fidelity: Annotated[FiniteNumber, Field(gt=0)] | None = Field(
        default=None, description="Training budget behind the value, such as epochs; null: the full one."
    )
    seed: SeedNumber | None = Field(default=None, description="Tells repeated measurements apart.")
    cost: Annotated[FiniteNumber, Field(ge=0)] | None = Field(
        default=None, description="What it took, in a unit of your own."
    )


class TokenBody(RequestBody):
    """What every report of a worker carries."""

    lease_token: Annotated[str, Field(max_length=200)] | None = Field(
        default=None, description="What came with the trial; 403 without it."
    )


class HeartbeatIn(TokenBody):
    """A worker that is still at it."""

    lease_seconds: LeaseSeconds | None = Field(default=None, description="How long from now; null: as long as before.")
    observations: Annotated[list[MeasuredIn], Field(max_length=1_000)] = Field(
        default_factory=list, description="Intermediate results, each at a fidelity below the final one."
    )


class CompleteIn(TokenBody):
    """What a worker measured."""

    observations: Annotated[list[MeasuredIn], Field(max_length=1_000)] = Field(
        description="The final value, perhaps for several seeds, and intermediate ones; those that came with a heartbeat "
        "need not be repeated. May be empty, or without a final value, where a heartbeat brought some: stopped early."
    )


class FailIn(TokenBody):
    """Why there is no value."""

    reason: Reason
    is_retryable: bool = Field(default=True, description="Whether another worker may try, while attempts are left.")


class ReasonIn(TokenBody):
    """Why there will be no value."""

    reason: Reason


class AbandonIn(TokenBody):
    """A worker that gives its trial back."""

    reason: Reason | None = None


class TrialForecast(Reply):
    """What was expected when the trial was handed out for the first time."""

    mean: float
    std: float
    model_version: str


class TrialOut(Reply):
    """An architecture that is to be measured, or was."""

    id: int
    task: str
    architecture_id: str
    genotype: str | None = Field(description="The architecture in the notation of the task's search space.")
    state: TrialState
    worker_id: str | None = Field(description="Who has it, or had it last.")
    lease_number: int = Field(description="How often it was handed out.")
    lease_expires_at: datetime | None = Field(description="When it returns to the pool; null: nobody has it.")
    num_expiries: int
    num_failures: int
    fidelity: float | None = Field(description="What it is to be measured at, such as epochs; null: the final one.")
    forecast: TrialForecast | None = Field(description="Null while it waits, or if there was no champion.")
    reason: str | None = Field(description="The cause of the last change.")
    observation_ids: list[int] = Field(description="What was recorded of it, the oldest first.")
    created_at: datetime
    changed_at: datetime


class TrialEvent(Reply):
    """One change of a trial."""

    from_state: TrialState | None = Field(description="Null: it was made.")
    to_state: TrialState
    cause: str
    worker_id: str | None
    created_at: datetime


class TrialWithHistory(TrialOut):
    """A trial with all that happened to it."""

    history: list[TrialEvent] = Field(description="The oldest first.")


class LeasedTrial(TrialOut):
    """A trial that is the worker's now."""

    lease_token: str = Field(description="Shown once; every report on the trial carries it.")
    lease_seconds: float
    source: Source = Field(
        description="yours: you had it already, and the token that you had is void; pool: it waited; new: suggested now."
    )


class SuggestedOut(Reply):
    """What to measure now."""

    task: str
    worker_id: str
    seed: int | None = Field(description="What the new ones were drawn with; null: none is new.")
    trials: list[LeasedTrial] = Field(
        description="Fewer than asked for where everything that is left is out or all too like what is out."
    )


class RequestedTrial(Reply):
    """What became of one requested architecture."""

    trial_id: int
    architecture_id: str
    state: TrialState
    is_new: bool = Field(description="False: it was waiting or out already, as this trial.")


class RequestedOut(Reply):
    """What became of the requested architectures, in their order."""

    task: str
    trials: list[RequestedTrial]


class IntermediateValue(Reply):
    """What was measured of the architecture at one fidelity so far."""

    fidelity: float
    value: float = Field(description="The mean over its seeds.")


class FinalForecast(Reply):
    """The final value, as it is expected now."""

    mean: float
    std: float


class AdviceOut(Reply):
    """Whether to go on measuring."""

    trial_id: int
    advice: Literal["continue", "stop"]
    because: str
    forecast: FinalForecast | None = Field(description="Null where nothing is known yet.")
    probability: float | None = Field(description="That the final value is better than the best measured one.")
    threshold: float = Field(description="Stop below it.")
    best_measured: float | None = Field(description="The best final value of another architecture.")
    method: Literal["learning_curves", "adaptation", "none"] = Field(
        description="learning_curves: from how values at this fidelity went with final ones; adaptation: the surrogate's "
        "forecast, which has seen them; none: there is too little to go by."
    )
    fidelity: float | None = Field(description="The fidelity that decided.")
    num_curves: int = Field(description="Other architectures that have a value at that fidelity and a final one.")
    intermediate: list[IntermediateValue] = Field(description="What it rests on, the lowest fidelity first.")
