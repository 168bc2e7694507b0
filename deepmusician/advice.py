"""What a training's numbers mean, in words: go on or stop, is it stuck, what is wrong and what helps.

Pure functions on a run's reports (one a finished epoch; see `runs`), its status and its baselines. Knows nothing of
files, processes or models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from deepmusician.metrics import find_collapse

if TYPE_CHECKING:
    from deepmusician.options import TrainOptions
    from deepmusician.runs import Status

Reports = Sequence[dict[str, Any]]

# baselines that a model should beat, in words, those first that say most where they are not
SIMPLER = {
    "repeat_last": "Copying the last frame",
    "velocity_frequencies": "Counting how often each velocity occurs",
    "markov": "A Markov chain, which only counts what followed what,",
}
ENOUGH_EPOCHS = 3  # fewer say nothing of where it goes
NOTABLE = 0.003  # share by which the surprise must fall to count as better
RISE = 0.01  # share by which it must rise on held-out songs to count as worse
PATIENCE = 0.2  # share of the epochs, at least ENOUGH_EPOCHS, without anything better that is enough
THIN, THICK = 0.4, 2.0  # composed density, as a part of the music's, beyond which it is said
QUIET = 20.0  # seconds without a word after which a training is asked about
SLOW = 2.0  # times as long as the epochs before


@dataclass(frozen=True)
class Advice:
    """`kind` is one of begun, improving, stalled, memorising; `since` the epoch it is true from; `text` says it."""

    kind: str
    since: int
    text: str


def stop_advice(reports: Reports, n_epochs: int | None = None, live: bool = True) -> Advice | None:
    """Whether to let a training go on, by the surprise on held-out songs; None before the first epoch.

    An epoch counts as better where its surprise is NOTABLE below the best before it. `n_epochs`, where it trains on,
    is how far it is meant to go; one that is no longer `live` is not told to stop.
    """
    if not reports:
        return None
    judged = [(r["valid"] or r["train"])["nll"] for r in reports]
    held_out = reports[-1]["valid"] is not None
    last, best = len(judged), int(np.argmin(judged)) + 1
    since = _better_until(judged)
    ended = not live or (n_epochs is not None and last >= n_epochs)
    if last < ENOUGH_EPOCHS:
        return Advice("begun", 1, "It has only begun; after a few more epochs the curve shows where it goes.")
    if last - since < max(ENOUGH_EPOCHS, PATIENCE * last):
        return Advice("improving", since, _improving(judged, held_out, ended))
    if held_out and _memorises(reports, judged, best):
        return Advice("memorising", best, _memorising(reports, judged, best, ended))
    small_steps = not ended and n_epochs is not None and last < 0.7 * n_epochs
    what = "more epochs would change little" if ended else "stop it, nothing is lost"
    text = f"No longer improving since epoch {since}: {what}; the best of its models (epoch {best}) is kept."
    text += " Steps grow smaller towards the end, which may still bring a little." if small_steps else ""
    return Advice("stalled", since, text)


def _better_until(judged: Sequence[float]) -> int:
    """The last epoch that was notably better than all before it."""
    mark, since = judged[0], 1
    for epoch, nll in enumerate(judged[1:], 2):
        if nll < mark * (1 - NOTABLE):
            mark, since = nll, epoch
    return since


def _improving(judged: Sequence[float], held_out: bool, ended: bool) -> str:
    before = judged[-1 - min(5, len(judged) - 1)]
    songs = "held-out songs" if held_out else "its own songs"
    fall = f" (surprise on {songs} {before:.2f} → {judged[-1]:.2f} nats a frame in {min(5, len(judged) - 1)} epochs)"
    what = ": more epochs would make it better." if ended else ": let it go on."
    return "Still improving" + (fall if round(judged[-1], 2) < round(before, 2) else "") + what


def _memorises(reports: Reports, judged: Sequence[float], best: int) -> bool:
    """Whether held-out songs surprise it more since epoch `best`, and the training songs less."""
    recent = median(judged[-3:])
    return recent > judged[best - 1] * (1 + RISE) and reports[-1]["train"]["nll"] < reports[best - 1]["train"]["nll"]


def _memorising(reports: Reports, judged: Sequence[float], best: int, ended: bool) -> str:
    train = reports[best - 1]["train"]["nll"], reports[-1]["train"]["nll"]
    return (
        f"Memorising since epoch {best}: its own songs surprise it less and less ({train[0]:.2f} → {train[1]:.2f} nats "
        f"a frame), songs it has not heard more ({judged[best - 1]:.2f} → {judged[-1]:.2f}). "
        f"{'The' if ended else 'Stop it; the'} model of epoch {best} is kept. More music, more "
        "transposition, more dropout or fewer units help against it."
    )


@dataclass(frozen=True)
class Pulse:
    """Whether a training is alive and as quick as usual: `level` is ok, slow or quiet; `text` says it."""

    level: str
    text: str


def pulse(status: Status, reports: Reports, now: float) -> Pulse:
    """The answer to "is it stuck?", for a training at work; `now` in seconds since 1970."""
    since = max(now - status.time, 0.0)
    if status.state == "queued":
        return Pulse("ok", f"{status.message} It starts by itself; nothing is stuck.")
    if since > QUIET:
        return Pulse(
            "quiet", f"Its process is alive, but said nothing for {since:.0f} s ({status.message.rstrip('.')}). A step "
            "or judging an epoch may take that long; if it stays so, stop and resume it: nothing saved is lost.",
        )  # fmt: skip
    usual = [r["frames_per_second"] for r in reports[-5:]]
    if status.state == "training" and status.frames_per_second and usual and status.batch >= 3:
        times = median(usual) / status.frames_per_second
        if times > SLOW:
            return Pulse(
                "slow", f"This epoch takes {times:.1f} times as long as those before: something else keeps the machine "
                "busy. It is not stuck.",
            )  # fmt: skip
    last = "just now" if since < 2 else f"{since:.0f} s ago"
    return Pulse("ok", f"Last sign of life {last}.")


def doubts(report: dict[str, Any], baselines: dict[str, dict[str, float]]) -> list[str]:
    """What the scores of an epoch alone say against the model."""
    found, model = [], (report["valid"] or report["train"])["nll"]
    for name, words in SIMPLER.items():
        simple = baselines.get(name, {}).get("nll")
        if simple is not None and model > simple:
            found.append(
                f"{words} still predicts better ({simple:.2f} nats a frame against {model:.2f}): "
                "train for more epochs, in smaller steps of fewer windows, or on more music."
            )
            break
    if report["valid"] is None:
        found.append(
            "No song is held out (there is only one song, or all are pinned to training): the numbers do not show how "
            "it does on new music."
        )
    return found


def findings(sounding: np.ndarray, report: dict[str, Any], options: TrainOptions, data: dict[str, Any]) -> list[str]:
    """What is wrong with the piece composed after an epoch, bool [T, 88], and what helps; `data` as in a card."""
    threshold, highest = options.threshold, report["highest"]
    found = find_collapse(sounding, data["held_share"], highest, threshold)
    if threshold and highest < threshold and sounding.any():
        found.append(
            f"Composing by threshold will be silent: the highest probability {highest:.2f} is below the "
            f"threshold {threshold:.2f}. Lower it, or leave it out to have it calibrated."
        )
    return found or _density(sounding, data["density"], options)


def _density(sounding: np.ndarray, usual: float, options: TrainOptions) -> list[str]:
    """Music that is there, but far thinner or thicker than what was learnt."""
    density = float(sounding.sum(1).mean()) if len(sounding) else 0.0
    numbers = f"({density:.1f} notes a frame, its music has {usual:.1f})"
    if density < THIN * usual:
        loss = "use the focal loss" if options.loss == "bce" else "raise alpha"
        return [f"What it composes is thin {numbers}: let it train longer, or {loss}; Compose can draw it fuller, too."]
    if density > THICK * usual:
        loss = "" if options.loss == "bce" else ", or lower alpha"
        return [f"What it composes is crowded {numbers}: let it train longer{loss}; Compose can draw it thinner, too."]
    return []
