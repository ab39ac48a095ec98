"""Callbacks and progress bars: what reports how training goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._progress import Progress
    from ._tldr import TLDR


class Reports:
    """Passes steps and epochs on to callbacks, writer and prints; keeps the loss of each epoch."""

    def __init__(
        self, tldr: TLDR, progress: Progress, print_every: int | None, eval_every: int | None
    ) -> None:
        self.losses: list[float] = []
        self.history: list[tuple[int, float, float | None]] = []
        self._callbacks = list(tldr.callbacks or ())
        self._writer = tldr.writer
        self._progress = progress
        self._print_every = print_every
        self._eval_every = eval_every or (1 if tldr.verbose > 1 else None)
        wanted = self._callbacks or self._writer is not None or print_every
        self.on_step = self._step if wanted else None

    def _step(self, step: int, epoch: int, loss: float, learning_rate: float) -> bool:
        if self._print_every and step % self._print_every == 0:
            self._print(f"epoch {epoch + 1}, step {step}: loss {loss:.4f}, lr {learning_rate:.4g}")
        if self._writer is not None:
            self._writer.add_scalar("loss", loss, step)
            self._writer.add_scalar("learning_rate", learning_rate, step)
        report = {"step": step, "epoch": epoch, "loss": loss, "learning_rate": learning_rate}
        # Every callback is called, whatever the others want.
        answers: list[Any] = [callback(report) for callback in self._callbacks]
        return any(bool(answer) for answer in answers)

    def on_epoch(self, epoch: int, step: int, loss: float, recall: float | None) -> bool:
        """Called by the engine."""
        self.losses.append(loss)
        self.history.append((step, loss, recall))
        if self._eval_every and epoch % self._eval_every == 0:
            kept = "" if recall is None else f", recall@10 {recall:.3f}"
            self._print(f"epoch {epoch}, step {step}: mean loss {loss:.4f}{kept}")
        return False

    def _print(self, line: str) -> None:
        self._progress.end_line()
        print(line, flush=True)
