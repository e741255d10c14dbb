"""Every table of the database, in SQLAlchemy's typed form. Migrations never import this module; a test compares the two.

Observations are append-only: a correction is a new row that `supersedes` an older one, a retraction a new row of status
`retracted` that does; `superseded_by_id` is the index of that relation, written in the same transaction.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.database import moment

RowId = BigInteger().with_variant(Integer, "sqlite")
"""SQLite counts up only an INTEGER primary key."""
_OPEN_TRIAL = "state IN ('requested', 'leased', 'expired', 'abandoned')"


class UtcDateTime(TypeDecorator[datetime]):
    """A moment, always aware and in UTC on the Python side, whatever the database keeps."""

    impl = DateTime(timezone=True)
    cache_ok = True

    @property
    def python_type(self) -> type[datetime]:
        """What the Python side holds."""
        return datetime

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"expected an aware datetime, got {value!r}")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def utc_now() -> datetime:
    """The present moment by this process's clock, aware."""
    return datetime.now(UTC)


class Table(DeclarativeBase):
    """Base of all tables, with names for every constraint so that migrations can speak of them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_N_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class SearchSpaceRecord(Table):
    """A search space that tasks can name: built in (no definition), declared by a user, or the open `graph` space."""

    __tablename__ = "search_spaces"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))  # built_in | graph | declared
    description: Mapped[str] = mapped_column(Text, default="")
    definition: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=moment())


class ProjectRecord(Table):
    """Who owns tasks. Its forecasts rest on its own observations and on what belongs to nobody; `is_learned_from` says
    whether fine-tuning, which makes one champion for all, learns from them too."""

    __tablename__ = "projects"

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    is_learned_from: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=moment())


DEFAULT_PROJECT_ID = 1
"""Its row is made by the migration: the project of whoever names none."""


class TaskRecord(Table):
    """Search space × data set × metric (× device). `revision` counts changes to its observations. What comes with the
    program belongs to no project: all may read it."""

    __tablename__ = "tasks"
    __table_args__ = (
        UniqueConstraint("project_id", "name"),
        Index(
            "uq_tasks_shared_name",
            "name",
            unique=True,
            sqlite_where=text("project_id IS NULL"),
            postgresql_where=text("project_id IS NULL"),
        ),
        Index("ix_tasks_name", "name"),
        Index("ix_tasks_created_at_id", "created_at", "id"),
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    project_id: Mapped[int | None] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str] = mapped_column(String(128))
    search_space: Mapped[str] = mapped_column(ForeignKey("search_spaces.name"), index=True)
    dataset: Mapped[str] = mapped_column(String(128))
    metric: Mapped[str] = mapped_column(String(64))
    unit: Mapped[str] = mapped_column(String(32))
    direction: Mapped[str] = mapped_column(String(8))  # maximize | minimize
    device: Mapped[str | None] = mapped_column(String(64))
    max_fidelity: Mapped[float | None]  # the fidelity (such as epochs) that counts as final; None: the largest seen
    details: Mapped[dict[str, Any]] = mapped_column("metadata", JSON, default=dict)
    num_observations: Mapped[int] = mapped_column(default=0)  # current ones: neither superseded nor retracted
    revision: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=moment())


class ArchitectureRecord(Table):
    """One architecture, known by the hash of its canonical form; written once, never changed."""

    __tablename__ = "architectures"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)  # the hash
    hash_algorithm: Mapped[str] = mapped_column(String(32))
    graph: Mapped[dict[str, Any]] = mapped_column(JSON)  # the canonical form as DAG JSON
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=moment())


class NotationRecord(Table):
    """How one search space writes an architecture (the first genotype that was seen)."""

    __tablename__ = "notations"

    architecture_id: Mapped[str] = mapped_column(ForeignKey("architectures.id"), primary_key=True)
    search_space: Mapped[str] = mapped_column(ForeignKey("search_spaces.name"), primary_key=True)
    genotype: Mapped[str] = mapped_column(Text)


class ObservationRecord(Table):
    """One measured value, or the news that there is none (failed, infeasible, retracted). Append-only."""

    __tablename__ = "observations"
    __table_args__ = (
        UniqueConstraint("task_id", "client_key"),
        Index("ix_observations_task_id_id", "task_id", "id"),
        Index("ix_observations_task_id_value_id", "task_id", "value", "id"),
        Index("ix_observations_task_id_created_at_id", "task_id", "created_at", "id"),
        Index(
            "ix_observations_current",
            "task_id",
            "architecture_id",
            sqlite_where=text("superseded_by_id IS NULL"),
            postgresql_where=text("superseded_by_id IS NULL"),
        ),
        Index("ix_observations_architecture_id", "architecture_id"),
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    task_id: Mapped[int] = mapped_column(ForeignKey("tasks.id"))
    architecture_id: Mapped[str] = mapped_column(ForeignKey("architectures.id"))
    status: Mapped[str] = mapped_column(String(16))  # ok | failed | infeasible | retracted
    value: Mapped[float | None]
    std_error: Mapped[float | None]  # known standard deviation of the value's own error
    seed: Mapped[int | None] = mapped_column(BigInteger)
    fidelity: Mapped[float | None]
    cost: Mapped[float | None]
    reason: Mapped[str | None] = mapped_column(Text)
    client_key: Mapped[str | None] = mapped_column(String(128))
    supersedes_id: Mapped[int | None] = mapped_column(ForeignKey("observations.id"))
    superseded_by_id: Mapped[int | None] = mapped_column(RowId)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=moment())


class ModelVersionRecord(Table):
    """One set of meta-learned initial parameters. Immutable; its files lie under the data directory."""

    __tablename__ = "model_versions"
    __table_args__ = (Index("ix_model_versions_created_at_id", "created_at", "id"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)  # from the weights' own hash
    parent_id: Mapped[str | None] = mapped_column(ForeignKey("model_versions.id"))
    origin: Mapped[str] = mapped_column(String(16))  # shipped | fine_tune | uploaded
    manifest: Mapped[dict[str, Any]] = mapped_column(JSON)
    weights: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)  # safetensors
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=moment())


class AliasRecord(Table):
    """Which model version `champion` and `candidate` mean now."""

    __tablename__ = "aliases"

    name: Mapped[str] = mapped_column(String(16), primary_key=True)
    model_version_id: Mapped[str] = mapped_column(ForeignKey("model_versions.id"))
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime, default=moment())


class PromotionRecord(Table):
    """Every decision about a candidate, with the numbers it rests on. Append-only."""

    __tablename__ = "promotions"

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    model_version_id: Mapped[str] = mapped_column(ForeignKey("model_versions.id"))
    previous_id: Mapped[str | None] = mapped_column(ForeignKey("model_versions.id"))
    promoted: Mapped[bool]
    reason: Mapped[str] = mapped_column(Text)
    comparison: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    job_id: Mapped[int | None] = mapped_column(ForeignKey("jobs.id"), unique=True)  # a fine-tune decides once
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=moment())


class PinRecord(Table):
    """A task is pinned to a model version from here on, or is not any more. Append-only: the newest of a task counts."""

    __tablename__ = "pins"
    __table_args__ = (Index("ix_pins_task_id_id", "task_id", "id"),)

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    task_id: Mapped[int] = mapped_column(ForeignKey("tasks.id"))
    model_version_id: Mapped[str | None] = mapped_column(ForeignKey("model_versions.id"))  # None: unpinned
    reason: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=moment())


class AdaptationRecord(Table):
    """The parameters after the inner loop for one task, one support set and one model version."""

    __tablename__ = "adaptations"
    __table_args__ = (UniqueConstraint("task_id", "model_version_id"),)

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    task_id: Mapped[int] = mapped_column(ForeignKey("tasks.id"))
    model_version_id: Mapped[str] = mapped_column(ForeignKey("model_versions.id"))
    support_hash: Mapped[str] = mapped_column(String(32))
    num_observations: Mapped[int]
    task_revision: Mapped[int]  # the task's revision that the support set was read at
    last_observation_id: Mapped[int] = mapped_column(RowId, default=0)  # the newest of the task's observations then
    payload: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)  # safetensors
    seconds: Mapped[float]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=moment())


class PredictionRecord(Table):
    """A prediction that was answered: matched later with its observation, it is the honest test set."""

    __tablename__ = "predictions"
    __table_args__ = (Index("ix_predictions_task_id_architecture_id", "task_id", "architecture_id"),)

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    task_id: Mapped[int] = mapped_column(ForeignKey("tasks.id"))
    architecture_id: Mapped[str] = mapped_column(String(32))  # no foreign key: most are never measured, so never stored
    model_version_id: Mapped[str] = mapped_column(ForeignKey("model_versions.id"))
    num_observations: Mapped[int]
    mean: Mapped[float]
    std: Mapped[float]
    lower: Mapped[float]
    upper: Mapped[float]
    last_observation_id: Mapped[int] = mapped_column(RowId)  # what was known: the task's observations up to this one
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=moment())


class DriftRecord(Table):
    """How the forecasts of one model version have held on one task, counted on with every observation of a forecast."""

    __tablename__ = "drift"

    task_id: Mapped[int] = mapped_column(ForeignKey("tasks.id"), primary_key=True)
    model_version_id: Mapped[str] = mapped_column(ForeignKey("model_versions.id"), primary_key=True)
    last_observation_id: Mapped[int] = mapped_column(RowId)  # the newest that was looked at
    num_pairs: Mapped[int]
    num_misses: Mapped[int]  # values outside the 90 % interval that was forecast
    statistic: Mapped[float]  # of the running test; 0: nothing speaks for drift
    num_alarms: Mapped[int]
    alarmed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ScheduleRecord(Table):
    """The last moment of a schedule that was acted upon, so that each is acted upon once."""

    __tablename__ = "schedules"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    expression: Mapped[str] = mapped_column(String(256))
    acted_at: Mapped[datetime] = mapped_column(UtcDateTime)  # the moment of the schedule, not of the acting


class JobRecord(Table):
    """Durable work, claimed under a lease so that a dead worker's job is taken over. `app/queue.py` has its kinds and rules."""

    __tablename__ = "jobs"
    __table_args__ = (Index("ix_jobs_state_kind_id", "state", "kind", "id"), Index("ix_jobs_kind_id", "kind", "id"))

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16), default="queued")  # queued | running | waiting | done | failed | …
    dedupe_key: Mapped[str | None] = mapped_column(
        String(128), unique=True
    )  # set while queued, so that many posts make one job
    priority: Mapped[int] = mapped_column(default=0)  # larger ones are claimed first
    payload: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    error: Mapped[str | None] = mapped_column(Text)
    percent: Mapped[float] = mapped_column(default=0.0)
    stage: Mapped[str] = mapped_column(String(128), default="")
    log_tail: Mapped[str] = mapped_column(Text, default="")
    attempts: Mapped[int] = mapped_column(default=0)
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    lease_number: Mapped[int] = mapped_column(
        default=0
    )  # one more with every claim: what an earlier one writes is refused
    lease_owner: Mapped[str | None] = mapped_column(String(64))
    lease_expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # not running: not to be claimed before
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=moment())
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class JobCheckpointRecord(Table):
    """How far a job is, so that whoever takes it over goes on from there."""

    __tablename__ = "job_checkpoints"

    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    details: Mapped[dict[str, Any]] = mapped_column(JSON)
    content: Mapped[bytes] = mapped_column(LargeBinary)  # safetensors, or nothing
    saved_at: Mapped[datetime] = mapped_column(UtcDateTime)


class JobFileRecord(Table):
    """A part of a file that a job reads or makes. Parts are numbered from 0."""

    __tablename__ = "job_files"

    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    role: Mapped[str] = mapped_column(String(8), primary_key=True)  # input | result
    number: Mapped[int] = mapped_column(primary_key=True)
    content: Mapped[bytes] = mapped_column(LargeBinary)


class TrialRecord(Table):
    """An architecture that somebody is to measure, or has measured. `token_hash` and `lease_number` are those of its last
    lease, however that ended; `outcome_digest` is of the call that ended it, so that the same call again is known."""

    __tablename__ = "trials"
    __table_args__ = (
        Index(
            "uq_trials_open",
            "task_id",
            "architecture_id",
            unique=True,
            sqlite_where=text(_OPEN_TRIAL),
            postgresql_where=text(_OPEN_TRIAL),
        ),
        Index("ix_trials_task_id_id", "task_id", "id"),
        Index("ix_trials_task_id_state_id", "task_id", "state", "id"),
        Index("ix_trials_task_id_worker_id_id", "task_id", "worker_id", "id"),
        Index("ix_trials_task_id_changed_at_id", "task_id", "changed_at", "id"),
        Index("ix_trials_state_lease_expires_at", "state", "lease_expires_at"),
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    task_id: Mapped[int] = mapped_column(ForeignKey("tasks.id"))
    architecture_id: Mapped[str] = mapped_column(ForeignKey("architectures.id"))
    state: Mapped[str] = mapped_column(String(16))  # app/trials/states.py says which lead where
    worker_id: Mapped[str | None] = mapped_column(String(128))  # who had it last
    token_hash: Mapped[str | None] = mapped_column(String(64))
    lease_number: Mapped[int] = mapped_column(default=0)
    lease_seconds: Mapped[float | None]
    lease_expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    num_expiries: Mapped[int] = mapped_column(default=0)
    num_failures: Mapped[int] = mapped_column(default=0)
    forecast_mean: Mapped[float | None]
    forecast_std: Mapped[float | None]
    model_version_id: Mapped[str | None] = mapped_column(String(32))  # that made the forecast
    fidelity: Mapped[float | None]  # what it is to be measured at; None: the final one
    reason: Mapped[str | None] = mapped_column(Text)  # the cause of the last change
    outcome_digest: Mapped[str | None] = mapped_column(String(64))
    observation_ids: Mapped[list[int]] = mapped_column(JSON, default=list)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=moment())
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime, default=moment())


class TrialEventRecord(Table):
    """A change of a trial's state or holder. Append-only."""

    __tablename__ = "trial_events"
    __table_args__ = (Index("ix_trial_events_trial_id_id", "trial_id", "id"),)

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    trial_id: Mapped[int] = mapped_column(ForeignKey("trials.id"))
    from_state: Mapped[str | None] = mapped_column(String(16))  # None: there was no trial before
    to_state: Mapped[str] = mapped_column(String(16))
    cause: Mapped[str] = mapped_column(Text)
    worker_id: Mapped[str | None] = mapped_column(String(128))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=moment())


class SearchRecord(Table):
    """An architecture search. The job of the same id does it, step by step: what a step asked, heard and decided is committed
    with the strategy's state, so that whoever comes next goes on from there. While it is `is_paused`, its job waits."""

    __tablename__ = "searches"
    __table_args__ = (Index("ix_searches_project_id_id", "project_id", "id"),)

    id: Mapped[int] = mapped_column(ForeignKey("jobs.id"), primary_key=True, autoincrement=False)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"))
    search_space: Mapped[str] = mapped_column(ForeignKey("search_spaces.name"))
    strategy: Mapped[str] = mapped_column(String(64))
    settings: Mapped[dict[str, Any]] = mapped_column(JSON)
    mode: Mapped[str] = mapped_column(String(16))  # measured | forecast | guided
    evaluator: Mapped[str] = mapped_column(String(16))  # trials | table | forecast | supernet
    constraints: Mapped[list[str]] = mapped_column(JSON)
    start: Mapped[list[str]] = mapped_column(JSON)  # genotypes to begin with
    seed: Mapped[int] = mapped_column(BigInteger)
    parallel: Mapped[int]
    max_evaluations: Mapped[int | None]
    max_seconds: Mapped[float | None]
    description: Mapped[str] = mapped_column(Text, default="")
    is_paused: Mapped[bool] = mapped_column(default=False)
    seconds_before: Mapped[float] = mapped_column(default=0.0)  # that counted until it was paused last
    counted_since: Mapped[datetime | None] = mapped_column(UtcDateTime)  # None: not begun, paused, or ended
    strategy_state: Mapped[dict[str, Any] | None] = mapped_column(JSON, deferred=True)  # None: not begun
    num_proposed: Mapped[int] = mapped_column(default=0)
    num_evaluated: Mapped[int] = mapped_column(default=0)  # whose outcome is known
    num_failed: Mapped[int] = mapped_column(default=0)  # of them, those without a value
    best_id: Mapped[int | None] = mapped_column(RowId)  # of its evaluations
    ending: Mapped[str | None] = mapped_column(Text)  # why it is done
    created_by: Mapped[str] = mapped_column(String(128))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=moment())


class SearchObjectiveRecord(Table):
    """A task that a search is about, the first one first, with the direction in which it searches."""

    __tablename__ = "search_objectives"
    __table_args__ = (Index("ix_search_objectives_task_id", "task_id"),)

    search_id: Mapped[int] = mapped_column(ForeignKey("searches.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    task_id: Mapped[int] = mapped_column(ForeignKey("tasks.id"))
    direction: Mapped[str] = mapped_column(String(8))  # maximize | minimize


class SearchEvaluationRecord(Table):
    """An architecture that a search proposed and, once it is known, what came of it."""

    __tablename__ = "search_evaluations"
    __table_args__ = (
        UniqueConstraint("search_id", "number"),
        Index("ix_search_evaluations_search_id_state_number", "search_id", "state", "number"),
        Index("ix_search_evaluations_search_id_value_id", "search_id", "value", "id"),
        Index("ix_search_evaluations_architecture_id", "architecture_id"),
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    search_id: Mapped[int] = mapped_column(ForeignKey("searches.id"))
    number: Mapped[int]  # from 1, in the order of the proposals
    architecture_id: Mapped[str] = mapped_column(ForeignKey("architectures.id"))
    origin: Mapped[str] = mapped_column(Text)  # where the strategy has it from
    asked_fidelity: Mapped[float]  # as a share of the final one
    state: Mapped[str] = mapped_column(String(16))  # open | done | failed
    source: Mapped[str | None] = mapped_column(String(16))  # trial | known | table | forecast | …
    values: Mapped[list[float] | None] = mapped_column(JSON)  # one for each objective
    value: Mapped[float | None]  # of the first objective
    fidelity: Mapped[float | None]  # that the values are of, as a share of the final one
    violation: Mapped[float | None]  # of the constraints; 0: none is violated
    ended_number: Mapped[int | None]  # from 1, in the order of the outcomes
    is_improvement: Mapped[bool] = mapped_column(default=False)  # it was the best so far when it came
    reason: Mapped[str | None] = mapped_column(Text)  # why there is no value
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class SearchTrialRecord(Table):
    """The trial that a search waits for, or waited for, to know one objective of an evaluation."""

    __tablename__ = "search_trials"
    __table_args__ = (Index("ix_search_trials_trial_id", "trial_id"),)

    evaluation_id: Mapped[int] = mapped_column(ForeignKey("search_evaluations.id"), primary_key=True)
    task_id: Mapped[int] = mapped_column(ForeignKey("tasks.id"), primary_key=True)
    trial_id: Mapped[int] = mapped_column(ForeignKey("trials.id"))
    search_id: Mapped[int] = mapped_column(ForeignKey("searches.id"))
    is_own: Mapped[bool]  # nobody else had asked for it before


class SearchEventRecord(Table):
    """What happened in a search, written while its job's row is locked: ids become visible in their order. Append-only."""

    __tablename__ = "search_events"
    __table_args__ = (Index("ix_search_events_search_id_id", "search_id", "id"),)

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    search_id: Mapped[int] = mapped_column(ForeignKey("searches.id"))
    kind: Mapped[str] = mapped_column(String(16))  # created | evaluated | epoch | …
    data: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class IdempotencyKeyRecord(Table):
    """A caller's key, with the request that it came with and, once there is one, the answer. Until then it is under a lease."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index("ix_idempotency_keys_created_at", "created_at"),)

    caller: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))  # of method, address and body
    attempt: Mapped[str] = mapped_column(String(32))  # who works on it, or has answered
    lease_expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    status: Mapped[int | None]  # of the answer; None: there is none yet
    headers: Mapped[dict[str, str] | None] = mapped_column(JSON)
    body: Mapped[bytes | None] = mapped_column(LargeBinary)  # compressed; None: it was shown once
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ApiKeyRecord(Table):
    """An API key; of the key itself only a keyed hash is stored. Never deleted, so that the audit log can be read."""

    __tablename__ = "api_keys"

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    name: Mapped[str] = mapped_column(String(128))
    role: Mapped[str] = mapped_column(String(16))  # reader | contributor | operator | admin
    project_id: Mapped[int | None] = mapped_column(ForeignKey("projects.id"))  # None: of all projects
    hint: Mapped[str] = mapped_column(String(24))  # how the key begins
    key_hash: Mapped[str] = mapped_column(String(64), unique=True)
    secret_id: Mapped[str] = mapped_column(String(16))  # which server secret it was hashed with
    requests_per_minute: Mapped[int | None]  # None: what the settings say
    created_by: Mapped[str] = mapped_column(String(128))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=moment())
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # to the minute
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class ServerSecretRecord(Table):
    """A secret that the service made for itself because its settings give none."""

    __tablename__ = "server_secrets"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    value: Mapped[str] = mapped_column(String(64))


class RateBucketRecord(Table):
    """How many requests a caller has left; replicas take some at a time."""

    __tablename__ = "rate_buckets"

    caller: Mapped[str] = mapped_column(String(128), primary_key=True)
    tokens: Mapped[float]
    refilled_at: Mapped[datetime] = mapped_column(UtcDateTime)


class AuditRecord(Table):
    """A change that somebody asked for. Append-only; written in the transaction of the change itself."""

    __tablename__ = "audit_entries"
    __table_args__ = (
        Index("ix_audit_entries_caller_id", "caller", "id"),
        Index("ix_audit_entries_operation_id", "operation", "id"),
        Index("ix_audit_entries_created_at", "created_at"),
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=moment())
    caller: Mapped[str] = mapped_column(String(128))  # key:7 | oidc:… | embedded | system
    caller_name: Mapped[str] = mapped_column(String(256))
    role: Mapped[str] = mapped_column(String(16))
    operation: Mapped[str] = mapped_column(String(64))  # as OpenAPI names it
    target: Mapped[str] = mapped_column(Text)  # method and address
    details: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    address: Mapped[str | None] = mapped_column(String(64))
    request_id: Mapped[str | None] = mapped_column(String(64))


class WebhookRecord(Table):
    """Where news is sent to. The secret is kept as it is, since every delivery is signed with it; it is shown only once."""

    __tablename__ = "webhooks"

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    url: Mapped[str] = mapped_column(Text)
    events: Mapped[list[str]] = mapped_column(JSON)
    description: Mapped[str] = mapped_column(Text, default="")
    secret: Mapped[str] = mapped_column(String(128))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=moment())


class WebhookDeliveryRecord(Table):
    """News for one webhook, written in the transaction of what happened. While somebody delivers it, `due_at` is when their
    lease runs out, and `attempts` tells whose lease it is."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        Index("ix_webhook_deliveries_state_due_at", "state", "due_at"),
        Index("ix_webhook_deliveries_webhook_id_id", "webhook_id", "id"),
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    webhook_id: Mapped[int] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"))
    message_id: Mapped[str] = mapped_column(
        String(40)
    )  # the same in every attempt, and for every webhook that hears of it
    event: Mapped[str] = mapped_column(String(64))
    body: Mapped[str] = mapped_column(Text)  # exactly what is signed and sent
    state: Mapped[str] = mapped_column(String(16), default="waiting")  # waiting | delivered | given_up
    attempts: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    status: Mapped[int | None]  # of the receiver's last answer
    reason: Mapped[str | None] = mapped_column(Text)  # why the last attempt failed
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=moment())
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class TallyRecord(Table):
    """How often something happened, or how much of it there was, since the database was made."""

    __tablename__ = "tallies"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    label: Mapped[str] = mapped_column(String(96), primary_key=True)  # what it is of
    value: Mapped[float]
