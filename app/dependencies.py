"""What endpoints ask for: the objects that `create_app` put on the application's state."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from app.database import Database
from app.inference import Inference
from app.settings import Settings


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


def _inference(request: Request) -> Inference:
    inference: Inference = request.app.state.inference
    return inference


SettingsDep = Annotated[Settings, Depends(_settings)]
DatabaseDep = Annotated[Database, Depends(_database)]
InferenceDep = Annotated[Inference, Depends(_inference)]
