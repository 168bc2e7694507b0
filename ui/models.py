"""The models there are: those that come with the studio, and the runs that have a checkpoint. Most compose; models of
expression say how loud the notes of a piece are struck."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from deepmusician.checkpoint import CARD, bundled, read_card
from deepmusician.errors import CheckpointError

RUN = "run-"  # before a run's name in a model's id


@dataclass(frozen=True)
class Model:
    """One trained model: `id` stands in addresses, `title` on the page, `path` is its checkpoint folder."""

    id: str
    title: str
    path: Path
    card: dict[str, Any]

    @property
    def version(self) -> float:
        """When its weights were written. Raises CheckpointError where they are gone."""
        try:
            return (self.path / CARD).stat().st_mtime
        except OSError:
            raise CheckpointError(f"the model {self.title} is gone; choose another one") from None

    @property
    def division(self) -> str:
        """The length of its frames as a part of a whole note."""
        return self.card.get("options", {}).get("division", "1/16")

    @property
    def composing(self) -> dict[str, Any]:
        """The tempo and instrument that suit it, as options of composing; empty where its card names none."""
        return self.card.get("composing", {})

    @property
    def styles(self) -> tuple[str, ...]:
        """The styles it learnt to tell apart; empty where it learnt one."""
        return tuple(self.card.get("data", {}).get("styles", ()))

    @property
    def attends(self) -> bool:
        """Whether it looks back at the window before while it composes."""
        return self.card["model"].get("attention", "none") != "none"

    @property
    def composes(self) -> bool:
        """Whether it writes notes; a model of expression does not."""
        return self.card["model"].get("arrangement") != "expression"

    @property
    def automatic(self) -> str:
        """In words, what it draws with where a control stands on automatic; empty before it was calibrated."""
        names = {"temperature": "temperature", "top_p": "top-p", "fullness": "density"}
        own = [f"{word} {round(self.card[name], 2):g}" for name, word in names.items() if name in self.card]
        return f"Automatic is {', '.join(own)}: found after its training." if own else ""

    def frames(self, bars: int, division: str | None = None) -> int:
        """How many frames make `bars` bars of four beats."""
        return round(bars / Fraction(division or self.division))


def bundled_models() -> list[Model]:
    """The composing models that come with the studio; a damaged one is left out."""
    return [m for m in _bundled() if m.composes]


def run_models() -> list[Model]:
    """The runs that have a checkpoint to compose with, newest first."""
    return [m for m in _runs() if m.composes]


def all_models() -> dict[str, Model]:
    """Every composing model by its id: the studio's own, then the person's."""
    return {m.id: m for m in (*bundled_models(), *run_models())}


def expression_models() -> dict[str, Model]:
    """Every model of expression by its id: the studio's own, then the person's."""
    return {m.id: m for m in (*_bundled(), *_runs()) if not m.composes}


def current_id(model: str | None) -> str | None:
    """What a model's address leads to now that its run may have been renamed."""
    from deepmusician.runs import current_name

    return f"{RUN}{current_name(model.removeprefix(RUN))}" if model and model.startswith(RUN) else model


def _bundled() -> list[Model]:
    return [m for path in bundled() if (m := _model(path.name, path))]


def _runs() -> list[Model]:
    from deepmusician.runs import list_runs

    found = [(run.name, run.model()) for run in list_runs()]
    return [
        m for name, path in found if path and (m := _model(f"{RUN}{name}", path, f"{name} (your training)"))
    ]


def _model(id: str, path: Path, title: str = "") -> Model | None:
    try:
        card = read_card(path)
    except CheckpointError:
        return None
    return Model(id, title or card.get("title") or path.name, path, card)
