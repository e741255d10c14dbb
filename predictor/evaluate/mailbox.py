"""Between an evaluation on a cluster and whoever asked for it. In a module of its own, so that its process need not load PyTorch."""

from __future__ import annotations


class Mailbox:
    """What a task tells whoever asked, and the advice that it gets back."""

    def __init__(self) -> None:
        self._waiting: list[str] = []
        self._goes_on = True

    def put(self, text: str) -> bool:
        """Takes a result; whether to go on, as far as is known now."""
        self._waiting.append(text)
        return self._goes_on

    def take(self) -> list[str]:
        """What came since."""
        taken, self._waiting = self._waiting, []
        return taken

    def stop(self) -> None:
        """Advises to stop."""
        self._goes_on = False
