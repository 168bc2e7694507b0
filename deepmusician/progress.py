"""What the command line shows while work goes on: a bar with rate and time left, and a line for each epoch."""

from __future__ import annotations

import sys
from typing import Any

from deepmusician.preparing import prepared, said


class TrainProgress:
    """A bar for the epoch under way with rate and time left, and a line for each that is finished."""

    def __init__(self, run: Any) -> None:
        self.run, self.shown = run, len(run.metrics())
        self.bar = Bar("training", "steps")

    def __enter__(self) -> TrainProgress:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()
        self._lines()

    def __call__(self, status: Any) -> None:
        if status.state != "training":
            return
        self._lines()
        total = status.n_epochs * status.n_batches
        self.bar(min(status.epoch * status.n_batches + status.batch, total), total)

    def _lines(self) -> None:
        reports = self.run.metrics()[self.shown :]
        self.shown += len(reports)
        for report in reports:
            self.bar.write(epoch_line(report))
            for warning in report.get("warnings", []):
                self.bar.write(f"  {warning}")


def epoch_line(report: dict[str, Any]) -> str:
    """One epoch in one line: both likelihoods in nats a frame, F1, densities in notes a frame, speed.

    A model that composes nothing has no F1 and no densities.
    """
    train, valid = report["train"], report["valid"] or report["train"]
    which = "held out" if report["valid"] else "training"
    parts = [
        f"epoch {report['epoch']:3d}  loss {train['loss']:.4f}  nats/frame {train['nll']:.3f} training",
        f"{valid['nll']:.3f} {which}",
    ]
    if "composed" in report:
        parts[-1] += f"  F1 {valid['f1']:.3f}  notes/frame {report['composed']['density']:.2f} composed"
        parts.append(f"{valid['data_density']:.2f} data")
    return ", ".join(parts) + f"  {report['frames_per_second']:.0f} frames/s"


class Bar:
    """tqdm, made at the first call so that quick work shows none; callable as progress(done, total)."""

    def __init__(self, what: str, unit: str) -> None:
        self.what, self.unit, self.bar = what, unit, None

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(self, done: int, total: int) -> None:
        from tqdm import tqdm

        if self.bar is None:
            self.bar = tqdm(
                total=total,
                initial=max(done - 1, 0),
                desc=self.what,
                unit=f" {self.unit}",
                leave=False,
                disable=None,
                delay=0.5,
            )
        self.bar.total = total
        self.bar.update(done - self.bar.n)

    def step(self, what: str, done: int, total: int) -> None:
        """Show a step of work that has several, by its name."""
        self.what = what.lower()
        self(done, total)
        self.bar.set_description(self.what)

    def write(self, line: str) -> None:
        """A line above the bar, on standard output."""
        from tqdm import tqdm

        tqdm.write(line)
        sys.stdout.flush()

    def close(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.close()


class Note:
    """A line that says what is being made ready, and goes when that is done; callable with the seconds so far."""

    def __init__(self, what: str) -> None:
        self.what, self.line = what, None

    def __enter__(self) -> Note:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(self, seconds: float) -> None:
        from tqdm import tqdm

        if self.line is None:
            self.line = tqdm(bar_format="{desc}", leave=False, disable=None)
        self.line.set_description_str(said(self.what, seconds))

    def close(self) -> None:
        """Take the line away."""
        if self.line is not None:
            self.line.close()
            self.line = None


def composer_ready() -> None:
    """Make the loops that compose ready; a line says so where that takes a while."""
    from deepmusician.models import streams

    with Note("what composes") as note:
        prepared(streams.loops, note)


class IngestBar(Bar):
    """Files a second, refused so far and time left; before, a line while the reader is made ready. Callable as
    progress(state)."""

    def __init__(self) -> None:
        super().__init__("reading", "files")
        self.note = Note("the reader")

    def __call__(self, state: Any) -> None:
        if state.preparing:
            self.note(state.preparing)
            return
        self.note.close()
        fresh = state.done - state.known
        if self.bar is None and not fresh:
            return
        super().__call__(state.done, state.total)
        self.bar.set_postfix_str(f"{state.refused:,} refused" + (f", {state.known:,} known" if state.known else ""))

    def close(self) -> None:
        """Take bar and line away."""
        self.note.close()
        super().close()


class BytesBar(Bar):
    """Bytes there, bytes a second and time left; callable as progress(done, total), total 0 where it is not known."""

    def __init__(self, what: str) -> None:
        super().__init__(what, "B")

    def __call__(self, done: int, total: int) -> None:
        from tqdm import tqdm

        if self.bar is None:
            self.bar = tqdm(desc=self.what, initial=done, unit="B", unit_scale=True, leave=False, disable=None)
        self.bar.total = total or None
        self.bar.update(done - self.bar.n)
