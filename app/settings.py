"""Every setting of the service. The environment is read here and nowhere else."""

from __future__ import annotations

import ipaddress
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Self

from cronsim import CronSim, CronSimError
from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

MEBIBYTE = 1024 * 1024
_MIN_SECRET_CHARACTERS = 16


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from its own machine alone. A name other than localhost may mean anything."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


PREFIX = "ARCHCAST_"
_OTHER_VARIABLES = {
    "ARCHCAST_URL",
    "ARCHCAST_API_KEY",
    "ARCHCAST_TEST_POSTGRESQL",
    "ARCHCAST_TEST_FUZZ_EXAMPLES",
}  # read elsewhere


class Settings(BaseSettings):
    """Read from variables that begin with ARCHCAST_, such as ARCHCAST_PORT=8080."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", protected_namespaces=())

    host: str = Field(default="127.0.0.1", description="Address that the service listens on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port that the service listens on; 0: any free one.")
    data_dir: Path = Field(default=Path("var"), description="Folder that holds all state of the service.")
    database_url: str = Field(default="", description="Database; empty: the file archcast.sqlite3 in the data folder.")

    postgresql_programs: Path | None = Field(
        default=None, description="Folder of pg_dump and pg_restore, for backups; none: those on PATH."
    )

    max_body_bytes: int = Field(default=64 * MEBIBYTE, ge=1, description="Largest request body.")
    max_predictions: int = Field(default=10_000, ge=1, description="Most architectures in one request for forecasts.")
    max_observations_per_request: int = Field(default=10_000, ge=1, description="Most observations in one request.")

    require_keys: bool = Field(
        default=False, description="Ask for keys on the loopback address too; on any other they are always asked for."
    )
    key_secret: str = Field(
        default="", repr=False, description="What keys are hashed with; empty: a secret that the database keeps."
    )
    access_poll_seconds: float = Field(
        default=0.5, gt=0.0, description="How often the service looks for keys that were made or revoked elsewhere."
    )
    requests_per_minute: int = Field(
        default=60_000, ge=0, description="Most requests of one key, over all replicas; 0: no limit."
    )
    request_timeout_seconds: float = Field(default=120.0, gt=0.0, description="Longest that a request may take.")

    oidc_issuer: str = Field(default="", description="OpenID Connect issuer whose tokens are accepted; empty: none.")
    oidc_audience: str = Field(default="", description="What the tokens have to be meant for.")
    oidc_jwks_url: str = Field(default="", description="Where its keys are; empty: as its configuration says.")
    oidc_algorithms: str = Field(default="RS256,ES256", description="Signatures that are accepted.")
    oidc_role_claim: str = Field(default="roles", description="The claim that says the role; dots lead into objects.")
    oidc_roles: dict[str, str] = Field(
        default_factory=dict, description="What its values mean, as JSON: {value: role}; empty: they are roles."
    )
    oidc_project_claim: str = Field(
        default="", description="The claim that says the project of readers and contributors; empty: the default one."
    )
    oidc_projects: dict[str, str] = Field(
        default_factory=dict, description="What its values mean, as JSON: {value: project}; empty: they are projects."
    )
    onnx_processes: int = Field(default=2, ge=1, le=64, description="Most processes that read ONNX files side by side.")
    onnx_memory_bytes: int = Field(
        default=512 * MEBIBYTE, ge=64 * MEBIBYTE, description="Most memory of a process that reads ONNX files."
    )
    onnx_seconds: float = Field(default=10.0, gt=0.0, description="Longest time that reading an ONNX file may take.")

    prediction_log_rate: float = Field(
        default=1.0, ge=0.0, le=1.0, description="Share of answered forecasts that is kept."
    )
    prediction_log_per_request: int = Field(
        default=200, ge=0, description="Most forecasts of one request that are kept."
    )
    fine_tune_after: int = Field(default=200, ge=0, description="Fine-tune after so many new observations; 0: never.")
    fine_tune_every_hours: float = Field(default=0.0, ge=0.0, description="Fine-tune on this schedule; 0: never.")
    fine_tune_cron: str = Field(
        default="", max_length=256, description="Fine-tune at these times (cron expression, UTC); empty: never."
    )
    fine_tune_on_drift: bool = Field(
        default=True, description="Fine-tune when forecasts of a task no longer hold what they promise."
    )

    load_shipped: bool = Field(
        default=True, description="Load the evaluated architectures that come with the program into a new database."
    )
    embedded_worker: bool = Field(default=True, description="Run queued work inside the service as well.")
    worker_poll_seconds: float = Field(default=0.15, gt=0.0, description="How often a worker looks for queued work.")
    lease_seconds: float = Field(
        default=60.0, gt=0.0, description="How long a job of a worker that stopped answering waits."
    )
    job_limits: dict[str, int] = Field(
        default_factory=dict,
        description='How many jobs of a kind run at once over all workers, such as {"fine_tune": 2}; 0: no limit.',
    )
    datasets: Path | None = Field(
        default=None,
        description="Folder of image data sets (.npz files) that searches may name; none: only those that need no file.",
    )
    max_scored_architectures: int = Field(
        default=1_000_000, ge=1, description="Most architectures in one bulk forecast."
    )
    max_imported_observations: int = Field(default=500_000, ge=1, description="Most observations in one imported file.")
    trial_sweep_seconds: float = Field(
        default=1.0, gt=0.0, description="How often the service looks for trials whose lease ran out."
    )
    trial_max_expiries: int = Field(
        default=5, ge=1, description="A trial has failed when its lease ran out so many times."
    )
    trial_max_failures: int = Field(
        default=3, ge=1, description="A trial has failed when its workers said so so many times, retryable or not."
    )
    idempotency_keep_hours: float = Field(
        default=24.0, gt=0.0, description="How long the answer to a request with an Idempotency-Key is kept."
    )
    idempotency_lease_seconds: float = Field(
        default=15.0, gt=0.0, description="How long such a request is waited for whose process stopped answering."
    )
    idempotency_sweep_seconds: float = Field(
        default=300.0, gt=0.0, description="How often the service removes answers that need not be kept any more."
    )
    inference_poll_seconds: float = Field(
        default=0.4, gt=0.0, description="How often the service looks for new adaptations."
    )
    max_enumerated_candidates: int = Field(
        default=50_000,
        ge=1,
        description="Search spaces up to this size are scored as a whole, larger ones are searched.",
    )
    torch_threads: int = Field(
        default=0,
        ge=0,
        description="Threads of PyTorch in each process; 0: one while serving, its own choice in fine-tunes.",
    )

    log_format: Literal["text", "json"] = Field(
        default="text", description="Log lines for people, or one JSON document a line for programs."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least of what is logged."
    )
    log_requests: bool = Field(default=False, description="Log a line for every request that was answered.")
    metrics_cache_seconds: float = Field(
        default=5.0, ge=0.0, description="How long /metrics answers again what it has read from the database."
    )
    metrics_max_tasks: int = Field(
        default=50, ge=0, description="Tasks that /metrics speaks of one by one: those that were observed last."
    )
    metrics_port: int = Field(
        default=0, ge=0, le=65535, description="Port on which a worker process answers /metrics; 0: none."
    )
    otel: bool = Field(
        default=False, description="Send traces to the OpenTelemetry collector that the OTEL_ variables name."
    )
    webhook_private_addresses: bool = Field(
        default=False, description="Deliver webhooks also to private addresses, and without TLS."
    )
    webhook_timeout_seconds: float = Field(
        default=10.0, gt=0.0, le=300.0, description="How long the receiver of a webhook may take in all."
    )
    webhook_max_attempts: int = Field(
        default=8, ge=1, le=20, description="A delivery is given up when it failed so many times."
    )
    webhook_poll_seconds: float = Field(
        default=1.0, gt=0.0, description="How often webhooks that are due are looked for."
    )
    webhook_keep_days: float = Field(default=30.0, gt=0.0, description="How long deliveries that have ended are kept.")
    event_stream_seconds: float = Field(
        default=3600.0, gt=0.0, description="Longest that a stream of events stays open; clients come back for more."
    )
    event_poll_seconds: float = Field(default=0.5, gt=0.0, description="How often a stream looks for new events.")
    event_heartbeat_seconds: float = Field(
        default=15.0, gt=0.0, description="A stream on which nothing happens says so often that it is still there."
    )
    max_event_streams: int = Field(default=200, ge=1, description="Most streams of events of one process.")
    shutdown_seconds: float = Field(
        default=25.0,
        gt=0.0,
        description="How long requests and jobs in flight may take when the process is told to end.",
    )
    shutdown_delay_seconds: float = Field(
        default=0.0, ge=0.0, description="How long /readyz says no before the service stops accepting connections."
    )

    @field_validator("key_secret")
    @classmethod
    def _is_a_secret(cls, value: str) -> str:
        if value and len(value) < _MIN_SECRET_CHARACTERS:
            raise ValueError(f"expected at least {_MIN_SECRET_CHARACTERS} characters, got {len(value)}")
        return value

    @model_validator(mode="after")
    def _names_an_audience(self) -> Self:
        if self.oidc_issuer and not self.oidc_audience:
            raise ValueError("expected oidc_audience beside oidc_issuer, got none: tokens for others would be accepted")
        return self

    @property
    def needs_keys(self) -> bool:
        """Whether requests without a key are refused."""
        return self.require_keys or not is_loopback(self.host)

    @model_validator(mode="after")
    def _with_database_url(self) -> Self:
        if not self.database_url:
            url = f"sqlite:///{self.data_dir.absolute() / 'archcast.sqlite3'}"
            object.__setattr__(self, "database_url", url)  # frozen for everybody else
        return self

    @field_validator("fine_tune_cron")
    @classmethod
    def _is_cron_expression(cls, value: str) -> str:
        try:
            if value:
                CronSim(value, datetime.now(UTC))
        except CronSimError as error:
            raise ValueError(f"expected a cron expression such as '0 3 * * *', got {value!r}: {error}") from error
        return value

    def as_environment(self) -> dict[str, str]:
        """The variables from which another process reads these settings."""
        given = self.model_dump(mode="json", exclude_none=True)
        return {f"{PREFIX}{name.upper()}": _written(value) for name, value in given.items()}


def _written(value: object) -> str:
    return json.dumps(value) if isinstance(value, dict) else str(value)


def unknown_variables() -> list[str]:
    """Variables of the environment that begin like settings and are none: typing errors, most of the time."""
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | _OTHER_VARIABLES
    return sorted(name for name in os.environ if name.upper().startswith(PREFIX) and name.upper() not in known)


def contradictions(settings: Settings) -> list[tuple[str, str]]:
    """Settings that together do not do what each of them says, each with what to do about it."""
    is_scheduled = settings.fine_tune_after > 0 or settings.fine_tune_every_hours > 0 or bool(settings.fine_tune_cron)
    num_processors = os.cpu_count() or 1
    rules = [
        (
            settings.worker_poll_seconds * 3 > settings.lease_seconds,
            "ARCHCAST_LEASE_SECONDS is too short for ARCHCAST_WORKER_POLL_SECONDS: living workers lose their jobs",
            "Make the lease at least three times as long as the pause.",
        ),
        (
            settings.prediction_log_rate > 0 and not settings.prediction_log_per_request,
            "ARCHCAST_PREDICTION_LOG_RATE has forecasts kept, ARCHCAST_PREDICTION_LOG_PER_REQUEST=0 forbids it",
            "Set the rate to 0, or allow some in each request.",
        ),
        (
            is_scheduled and not settings.prediction_log_rate,
            "fine-tunes are scheduled, but no forecast is kept to judge them by",
            "Raise ARCHCAST_PREDICTION_LOG_RATE, or live with a judgement on held-out episodes alone.",
        ),
        (
            settings.idempotency_lease_seconds > settings.idempotency_keep_hours * 3_600,
            "ARCHCAST_IDEMPOTENCY_KEEP_HOURS is shorter than ARCHCAST_IDEMPOTENCY_LEASE_SECONDS: keys are lost in flight",
            "Keep answers for longer than requests may take.",
        ),
        (
            settings.torch_threads > num_processors,
            f"ARCHCAST_TORCH_THREADS={settings.torch_threads} on {num_processors} processors",
            "Leave it at 0: more threads than processors wait for each other.",
        ),
    ]
    return [(message, advice) for is_wrong, message, advice in rules if is_wrong]
