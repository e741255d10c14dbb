"""Model versions in memory: read from the database once, kept while they answer."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import predictor
from app.database import Database
from app.errors import ConflictError, InvalidContentError, NotReadyError
from app.inference import records
from app.inference.errors import translated
from predictor import MetaPredictor

_MAX_LOADED = 3


@dataclass(frozen=True)
class ShippedVersion:
    """A model version that comes with the program or from elsewhere, ready to be stored."""

    id: str
    manifest: dict[str, Any]
    weights: bytes


def shipped_version() -> ShippedVersion:
    """Reads the champion that comes with the program."""
    with translated():
        champion = MetaPredictor.load(predictor.shipped_champion())
        return ShippedVersion(champion.version, dict(champion.manifest), champion.to_bytes())


def packed(meta_predictor: MetaPredictor) -> bytes:
    """A model version as one file, which `unpacked` reads."""
    with translated():
        return predictor.pack(meta_predictor)


def unpacked(content: bytes) -> ShippedVersion:
    """The model version of an archive that came from anywhere, proved to answer.

    Raises:
        InvalidContentError: if it is none, or does not fit this program; says what was expected and what came.
    """
    try:
        found = predictor.unpack(content)
    except predictor.CheckpointError as error:
        raise InvalidContentError(str(error), [{"location": ["body"], "message": str(error)}]) from error
    return ShippedVersion(found.version, dict(found.manifest), found.to_bytes())


def version_of(weights: bytes, manifest: Mapping[str, Any]) -> str:
    """The id of a model version, from its weights; proves that they load.

    Raises:
        InternalError: if they do not.
    """
    with translated():
        return MetaPredictor.from_bytes(weights, manifest).version


def is_readable(manifest: Mapping[str, Any]) -> bool:
    """Whether this program reads weights of that manifest; those of programs with another encoding it does not."""
    return MetaPredictor.reads(manifest)


class Versions:
    """Loads model versions by id and keeps the ones used last. May be called from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._loaded: OrderedDict[str, MetaPredictor] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, version: str) -> MetaPredictor:
        """The surrogate's initial parameters of that version.

        Raises:
            NotFoundError: if no such version is stored.
            ConflictError: if it was made for another encoding than this program's.
            InternalError: if its weights cannot be loaded.
        """
        with self._lock:
            if version not in self._loaded:
                self._loaded[version] = self._read(version)
                while len(self._loaded) > _MAX_LOADED:
                    self._loaded.popitem(last=False)
            self._loaded.move_to_end(version)
            return self._loaded[version]

    def reads(self, version: str) -> bool:
        """Whether that version is stored and this program reads it."""
        with self._lock:
            if version in self._loaded:
                return True
        with self._database.read() as session:
            return is_readable(records.manifest(session, version))

    def champion(self) -> MetaPredictor:
        """The version that `champion` means now.

        Raises:
            NotReadyError: if there is none yet.
        """
        with self._database.read() as session:
            version = records.champion_id(session)
        if version is None:
            raise NotReadyError("expected a champion model version, got none yet: the service is starting")
        return self.get(version)

    def of_task(self, task_id: int) -> MetaPredictor:
        """The version that the task's adaptations start from: the one that it is pinned to, or else the champion.

        Raises:
            NotReadyError: if there is none yet.
        """
        with self._database.read() as session:
            pinned = records.pinned_version(session, task_id)
        return self.champion() if pinned is None else self.get(pinned)

    def _read(self, version: str) -> MetaPredictor:
        with self._database.read() as session:
            record = records.model_version(session, version)
        if not is_readable(record.manifest):
            raise ConflictError(
                f"expected a model version of this program's encoding, got {version}, which an earlier or later program made;"
                " pin the task to another version, or unpin it"
            )
        with translated():
            return MetaPredictor.from_bytes(record.weights, record.manifest)
