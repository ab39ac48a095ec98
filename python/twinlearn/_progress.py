"""What `verbose` shows."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

_WIDTH = 30


class Progress:
    """A line on stderr that is written over while a stage runs, in terminals and notebooks."""

    def __init__(self, verbose: int) -> None:
        self.verbose = int(verbose)
        self._total = 0.0
        self._shown = -1

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end_line()

    def tell(self, event: str, name: str, number: float) -> None:
        """What the engine tells: an event, the stage or line it is about, and a number."""
        if event == "start":
            self.end_line()
            self._total = number
        elif event == "progress":
            share = int(100 * number / max(1.0, self._total))
            if share != self._shown:
                self._shown = share
                bar = "#" * (_WIDTH * share // 100)
                self._write(f"\r{name:>9} [{bar:<{_WIDTH}}] {share:3d} %")
        elif event == "finish":
            self.end_line()
            if self.verbose > 1:
                print(f"{name}: {number:.2f} s", flush=True)
        elif event == "plan" and self.verbose > 1:
            self.end_line()
            print(name, flush=True)

    def end_line(self) -> None:
        """Ends the line that is written over, before anything else is printed."""
        if self._shown >= 0:
            self._write("\n")
            self._shown = -1

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
