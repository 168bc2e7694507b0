"""How well a model predicts windows, teacher-forced: its loss, its honest likelihood, its hits and misses."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from deepmusician.metrics import CellCounts
from deepmusician.windows import Windows

BATCH = 64  # windows scored at once; changes speed only


@dataclass(frozen=True)
class Score:
    """Means over the frames of the windows: `loss` and `nll` in their own units a frame, and the cells' counts."""

    loss: float
    nll: float
    counts: CellCounts

    def table(self, threshold: float) -> dict[str, float]:
        """The numbers a report shows, with keys played at or above `threshold`."""
        scores = {"loss": self.loss, "nll": self.nll, **self.counts.at(threshold)}
        return {**scores, "data_density": self.counts.data_density}


@torch.inference_mode()
def score(model: nn.Module, windows: Windows, device: object = "cpu", most: int | None = None) -> Score | None:
    """Score `windows`, each frame given the true ones before it; None where there are none.

    With `most`, about that many windows spread evenly over all of them.
    """
    places = windows.places()
    if most is not None and len(places) > most:
        places = places[:: -(-len(places) // most)]
    if not len(places):
        return None
    was_training = model.training
    model.eval()
    loss = nll = 0.0
    counts = CellCounts()
    for i in range(0, len(places), BATCH):
        some = places[i : i + BATCH]
        batch = windows.batch(some, 0 * some[:, 0]).to(device)
        logits = model.logits(batch)
        loss += float((model.head.loss(logits, batch.target) * batch.mask).sum())
        nll += float((model.head.nll(logits, batch.target) * batch.mask).sum())
        inside = batch.mask
        counts.add(torch.sigmoid(logits[inside]).cpu().numpy(), batch.target[inside].cpu().numpy())
    model.train(was_training)
    return Score(loss / counts.frames, nll / counts.frames, counts)
