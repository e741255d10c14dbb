"""Image data sets that a request may name: those that need no file, and the `.npz` files of one folder of the operator.

A name is never a path: it has no dots and no slashes, and it is looked up in the listing. What lies outside of the folder, and is
only linked from it, is not listed.
"""

from __future__ import annotations

import re
from pathlib import Path

import predictor
from app.errors import InvalidContentError, NotReadyError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_SUFFIX = ".npz"
_MOST_SHOWN = 50


class DatasetCatalogue:
    """What there is now. May be called from any thread."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        """All of them; those that need no file come first, and hide files of the same name.

        Raises:
            NotReadyError: if the folder cannot be read.
        """
        return list(dict.fromkeys([*_without_files(), *self._files()]))

    def source(self, name: object) -> str:
        """What the predictor loads under that name: the name itself, or the path of the file.

        Raises:
            InvalidContentError: if there is no data set of that name; it says which there are.
            NotReadyError: if the folder cannot be read.
        """
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            form = "the name of a data set (letters, digits, _ and -, 64 at most)"
            raise InvalidContentError(f"expected {form}, got {name!r:.80}; there are {self._shown()}")
        if name in _without_files():
            return name
        files = self._files()
        if name not in files:
            raise InvalidContentError(f"expected one of the data sets {self._shown()}, got {name!r}")
        return str(files[name])

    def _shown(self) -> str:
        names = self.names()
        more = f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
        return ", ".join(names[:_MOST_SHOWN]) + more

    def _files(self) -> dict[str, Path]:
        if self._folder is None:
            return {}
        try:
            folder = self._folder.resolve(strict=True)
            found = sorted(folder.iterdir())
        except OSError as error:
            message = f"expected a folder of data sets that can be read (ARCHCAST_DATASETS), got: {error.strerror}"
            raise NotReadyError(message) from error
        return {path.stem: path for path in found if _is_offered(path, folder)}


def _without_files() -> tuple[str, ...]:
    return tuple(name for name in predictor.dataset_names() if _NAME.fullmatch(name))


def _is_offered(path: Path, folder: Path) -> bool:
    if path.suffix != _SUFFIX or not _NAME.fullmatch(path.stem):
        return False
    try:
        real = path.resolve(strict=True)
        return real.is_relative_to(folder) and real.is_file()
    except (OSError, RuntimeError):  # a link that leads nowhere, or in a circle
        return False
