"""What `archcast measure` was told, as an evaluator's document."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from app.errors import InvalidContentError
from app.inference import evaluating
from app.inference.evaluating import Evaluator, RayConfig
from app.measuring.webhook import Webhook

Kind = Literal["train", "table", "command", "webhook"]


@dataclass(frozen=True)
class Choices:
    """Options of the command line, as far as they are about evaluating."""

    kind: Kind
    dataset: str | None = None
    device: str = "auto"
    recipe: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()
    latency_batch_sizes: tuple[int, ...] = (1, 64)
    threads: int = 1
    table: str | None = None
    command: str | None = None
    webhook: str | None = None
    timeout_seconds: float = 3_600.0
    save_seconds: float = 5.0
    ray: RayConfig | None = None

    def evaluator(self, space: Mapping[str, Any]) -> Evaluator:
        """For the search space of that document.

        Raises:
            InvalidContentError: if options are missing or wrong, or what they name cannot be used.
        """
        name, definition = space["name"], space["definition"]
        if self.kind == "webhook":
            url = self._needed("webhook", self.webhook)
            if not url.startswith(("http://", "https://")):
                raise InvalidContentError(f"expected --webhook to be an address of http or https, got {url!r:.200}")
            return evaluating.asking(Webhook(url, self.timeout_seconds), name, definition)
        return evaluating.evaluator(self.document(), name, definition, self.ray)

    def document(self) -> dict[str, Any]:
        """The evaluator's document; raises InvalidContentError."""
        match self.kind:
            case "train":
                return {
                    "kind": "train",
                    "dataset": self._dataset(),
                    "device": self.device,
                    "recipe": pairs("recipe", self.recipe),
                    "sizes": pairs("size", self.sizes),
                    "latency": self._latency(),
                    "save_every_seconds": self.save_seconds,
                }
            case "table":
                return {"kind": "table", **_object("table", self._needed("table", self.table))}
            case _:
                words = shlex.split(self._needed("command", self.command))
                return {"kind": "command", "command": words, "timeout_seconds": self.timeout_seconds}

    def _dataset(self) -> str:
        dataset = self._needed("dataset", self.dataset)
        return str(Path(dataset).absolute()) if dataset.endswith(".npz") else dataset  # tasks of Ray run elsewhere

    def _latency(self) -> dict[str, Any] | None:
        if not self.latency_batch_sizes:
            return None
        return {"batch_sizes": list(self.latency_batch_sizes), "threads": self.threads}

    def _needed(self, option: str, value: str | None) -> str:
        if not value:
            raise InvalidContentError(f"expected --{option} with --evaluator {self.kind}, got none")
        return value


def pairs(option: str, given: Sequence[str]) -> dict[str, Any]:
    """`name=value` options; values are read as JSON where they are any, and as text otherwise."""
    found: dict[str, Any] = {}
    for text in given:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise InvalidContentError(f"expected --{option} name=value, got {text!r:.200}")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def _object(option: str, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InvalidContentError(f"expected --{option} as JSON, got {text!r:.200}: {error}") from error
    if not isinstance(found, dict):
        raise InvalidContentError(f"expected --{option} as a JSON object, got {text!r:.200}")
    return found
