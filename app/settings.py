"""Every setting of the service. The environment is read here and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

MEBIBYTE = 1024 * 1024


class Settings(BaseSettings):
    """Read from variables that begin with ARCHCAST_, such as ARCHCAST_PORT=8080."""

    model_config = SettingsConfigDict(env_prefix="ARCHCAST_", frozen=True, extra="forbid", protected_namespaces=())

    host: str = Field(default="127.0.0.1", description="Address that the service listens on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port that the service listens on; 0: any free one.")
    data_dir: Path = Field(default=Path("var"), description="Folder that holds all state of the service.")
    database_url: str = Field(default="", description="Database; empty: the file archcast.sqlite3 in the data folder.")

    max_body_bytes: int = Field(default=64 * MEBIBYTE, ge=1, description="Largest request body.")
    max_predictions: int = Field(default=10_000, ge=1, description="Most architectures in one request for forecasts.")
    max_observations_per_request: int = Field(default=10_000, ge=1, description="Most observations in one request.")

    prediction_log_rate: float = Field(
        default=1.0, ge=0.0, le=1.0, description="Share of answered forecasts that is kept."
    )
    prediction_log_per_request: int = Field(
        default=200, ge=0, description="Most forecasts of one request that are kept."
    )
    fine_tune_after: int = Field(default=200, ge=0, description="Fine-tune after so many new observations; 0: never.")
    fine_tune_every_hours: float = Field(default=0.0, ge=0.0, description="Fine-tune on this schedule; 0: never.")

    load_shipped: bool = Field(
        default=True, description="Load the evaluated architectures that come with the program into a new database."
    )
    embedded_worker: bool = Field(default=True, description="Run queued work inside the service as well.")
    worker_poll_seconds: float = Field(default=0.15, gt=0.0, description="How often a worker looks for queued work.")
    lease_seconds: float = Field(
        default=60.0, gt=0.0, description="How long a job of a worker that stopped answering waits."
    )
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
    shutdown_seconds: float = Field(
        default=25.0,
        gt=0.0,
        description="How long requests and jobs in flight may take when the process is told to end.",
    )
    shutdown_delay_seconds: float = Field(
        default=0.0, ge=0.0, description="How long /readyz says no before the service stops accepting connections."
    )

    @model_validator(mode="after")
    def _with_database_url(self) -> Self:
        if not self.database_url:
            url = f"sqlite:///{self.data_dir.absolute() / 'archcast.sqlite3'}"
            object.__setattr__(self, "database_url", url)  # frozen for everybody else
        return self

    def as_environment(self) -> dict[str, str]:
        """The variables from which another process reads these settings."""
        return {f"ARCHCAST_{name.upper()}": str(value) for name, value in self.model_dump(mode="json").items()}
