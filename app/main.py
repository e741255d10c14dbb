"""create_app: the service."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from app import api, error_handlers, migration, shipped, tracing
from app.access import keys
from app.access.guard import AccessGuard
from app.candidates.service import CandidateService
from app.database import Database
from app.formats.onnx_process import OnnxReader
from app.idempotency.middleware import IdempotencyMiddleware
from app.idempotency.service import IdempotencyService
from app.idempotency.sweeper import KeySweeper
from app.inference import Inference
from app.inference.datasets import DatasetCatalogue
from app.metrics.registry import add_shared, new_registry
from app.middleware import BodyLimitMiddleware, RequestIdMiddleware
from app.model_versions import service as model_versions
from app.predictions.service import PredictionService
from app.request_records import RequestMetrics, RequestRecordMiddleware
from app.search_spaces import service as search_spaces
from app.searches.events import EventStreams
from app.searches.planning import Planner
from app.settings import Settings
from app.trials.advice import AdviceService
from app.trials.suggesting import SuggestionService
from app.trials.sweeper import TrialSweeper
from app.webhooks.sending import DeliverySweeper, WebhookSender

_DESCRIPTION = (
    "Forecasts how well a neural architecture will do before anybody trains it, learns from every result that is "
    "posted back, and gets better at the next task because of the last one. Errors are RFC 9457 problem documents."
)


def create_app(
    settings: Settings | None = None, *, migrate: bool = False, say: Callable[[str], None] = lambda text: None
) -> FastAPI:
    """The service on its settings; `migrate` brings the database to the newest version when it starts, and `say` is told
    what takes its time then."""
    settings = settings or Settings()
    app = FastAPI(
        title="Archcast",
        version=_version(),
        description=_DESCRIPTION,
        lifespan=_lifespan,
        generate_unique_id_function=lambda route: route.name,
        telemetry=tracing.config(settings),
    )
    app.state.settings = settings
    app.state.migrate = migrate
    app.state.say = say
    app.state.ending = threading.Event()  # set when the process was told to end
    app.state.database = Database(settings.database_url, settings.request_timeout_seconds)
    app.state.guard = AccessGuard(settings, app.state.database)
    if settings.otel:
        tracing.trace_statements(app.state.database.engine)
    app.state.inference = Inference(settings, app.state.database)
    app.state.predictions = PredictionService(settings, app.state.database, app.state.inference)
    app.state.candidates = CandidateService(settings, app.state.database, app.state.inference)
    app.state.suggestions = SuggestionService(settings, app.state.database, app.state.inference, app.state.candidates)
    datasets = DatasetCatalogue(settings.datasets)
    app.state.search_planner = Planner(app.state.database, app.state.inference, app.state.candidates, datasets)
    app.state.event_streams = EventStreams(settings, app.state.database, app.state.ending)
    app.state.onnx = OnnxReader(settings)
    app.state.advice = AdviceService(app.state.database, app.state.inference, app.state.candidates)
    app.state.sweeper = TrialSweeper(settings, app.state.database)
    idempotency = IdempotencyService(settings, app.state.database)
    app.state.key_sweeper = KeySweeper(settings, app.state.database, idempotency)
    app.state.webhook_sender = WebhookSender(settings, app.state.database)
    app.state.delivery_sweeper = DeliverySweeper(app.state.webhook_sender, app.state.database)
    app.add_middleware(IdempotencyMiddleware, service=idempotency)
    app.add_middleware(BodyLimitMiddleware, max_bytes=settings.max_body_bytes)
    app.state.registry = new_registry()
    add_shared(app.state.registry, settings, app.state.database)
    recorded = RequestMetrics(app.state.registry)
    app.add_middleware(RequestRecordMiddleware, metrics=recorded, log_requests=settings.log_requests)
    app.add_middleware(RequestIdMiddleware)
    error_handlers.install(app)
    api.mount(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    await run_in_threadpool(_start, app)
    try:
        yield
    finally:
        app.state.ending.set()
        await app.state.guard.finish()
        await run_in_threadpool(_stop, app)


def _start(app: FastAPI) -> None:
    """A database that is not migrated is left as it is: /readyz says so."""
    database: Database = app.state.database
    settings: Settings = app.state.settings
    if app.state.migrate:
        migration.upgrade(database)
    if migration.is_current(database):
        with database.write() as session:
            search_spaces.add_built_in(session)
        model_versions.register_shipped(database)
        if app.state.migrate and settings.load_shipped:
            _load_shipped(database, app.state.say)
        if app.state.migrate and settings.needs_keys:
            _make_first_key(database, settings, app.state.say)
        app.state.inference.refresh()
    app.state.guard.start()
    app.state.inference.start()
    app.state.predictions.start()
    app.state.sweeper.start()
    app.state.key_sweeper.start()
    app.state.webhook_sender.start()
    app.state.delivery_sweeper.start()


def _load_shipped(database: Database, say: Callable[[str], None]) -> None:
    missing = shipped.missing(database)
    if not missing:
        return
    say(f"New database: loading {len(missing)} tasks of really trained architectures that come with Archcast …")
    began = time.perf_counter()
    count = shipped.load(database, missing)
    say(f"{count:,} observations loaded in {time.perf_counter() - began:.1f} s.")


def _make_first_key(database: Database, settings: Settings, say: Callable[[str], None]) -> None:
    key = keys.create_first(database, settings)
    if key is not None:
        say(f"The first key, of role admin. It is shown this once, so keep it:\n  {key}")


def _stop(app: FastAPI) -> None:
    app.state.delivery_sweeper.stop()
    app.state.webhook_sender.stop()
    app.state.key_sweeper.stop()
    app.state.sweeper.stop()
    app.state.predictions.stop()
    app.state.onnx.stop()
    app.state.inference.stop()
    app.state.guard.stop()
    app.state.database.close()


def _version() -> str:
    try:
        return version("archcast")
    except PackageNotFoundError:  # run from a folder that was never installed
        return "0"
