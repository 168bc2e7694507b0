"""The judges' report on a model: what its music is like beside human music, whether it can be told apart, if it is new.

All clips are comparable: cut from whole pieces on the model's own grid with the planes it knows, equally long, at the
same places of a piece. The model composes as many pieces as there are human ones, with its own settings.

Three sets are compared. The reference is human music that the model never saw. Beside the model stands a control: as
many training songs, human as well. What the control reaches is what perfect imitation would; a model can hardly do
better, and a judge that tells the control from the reference would be a bad judge.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepmusician import checkpoint, features, originality
from deepmusician.errors import OptionError
from deepmusician.features import FEATURES
from deepmusician.generation import compose_frames, sampling
from deepmusician.notes import Song
from deepmusician.options import GenerateOptions
from deepmusician.originality import Index, calibrate, memorised
from deepmusician.overlap import Overlap, compare
from deepmusician.roll import Roll, parse_division, roll_from_frames
from deepmusician.rolls import Rolls, song_frames
from deepmusician.twosample import Telltale, TwoSample, two_sample

if TYPE_CHECKING:
    from deepmusician.models.base import Model

SEED = 4  # of the pieces composed and the songs picked
CLIP_BARS = (8, 4, 2, 1)  # of four beats; the first that half of the songs fill
CLIPS_A_SONG = 8  # at most
AT_ONCE = 16  # pieces composed together
FEWEST = 4  # pieces composed, however few human ones there are
# pieces composed and songs compared: in a run's report, in a quick and in a full judgement
SIZES = {"run": 8, "quick": 32, "full": 96}

Progress = Callable[[str, int, int], None]  # what is done, how much of it, of how much


def silent(what: str, done: int, total: int) -> None:
    """The default: nobody wants to know."""


@dataclass(frozen=True)
class Clips:
    """Clips of music [N], equally long, the piece each is from, and the whole pieces."""

    rolls: list[Roll]
    piece: np.ndarray
    whole: list[Roll]

    def __len__(self) -> int:
        return len(self.rolls)


def judge(
    model: Model, card: dict[str, Any], rolls: Rolls, train: np.ndarray, judged: np.ndarray, size: str = "quick",
    progress: Progress = silent,
) -> dict[str, Any]:  # fmt: skip
    """Judge a model that composes. `train` and `judged` are the songs of `rolls` it learnt from and never saw.

    Where they are the same songs, music that has nothing to do with its training, one half is the reference, the other
    the control, and originality is not judged. Returns plain values for JSON: {"size", "clip_bars", "clips",
    "features", "overlap", "two_sample", "originality", "words"}; a part that cannot be judged is {"problem": sentence}.
    """
    if size not in SIZES:
        raise OptionError(f"size must be one of {', '.join(SIZES)}, got {size!r}")
    division = parse_division(card["options"].get("division", "1/16"))
    foreign = np.array_equal(train, judged)
    order = np.random.default_rng(SEED).permutation(judged)
    reference, control = (order[::2], order[1::2]) if foreign else (order, _shuffled(train))
    cut = Cut.of(rolls, reference, division, SIZES[size])
    human = cut.clips(rolls, reference)
    real = cut.clips(rolls, control, like=human)
    composed = cut.composed(model, card, rolls, human, progress)
    progress("Measuring", 0, 1)
    tables = [features.measure(clips.rolls) for clips in (composed, human, real)]
    progress("Comparing", 0, 1)
    report = {
        "size": size,
        "clip_bars": cut.bars,
        "clips": {"composed": len(composed), "human": len(human), "control": len(real)},
        "features": _features(tables, composed, human, real),
        "two_sample": _two_sample(tables, composed, human, real),
    }
    report["overlap"] = _mean_overlap(report["features"])
    progress("Looking for passages it has read", 0, 1)
    report["originality"] = _originality(rolls, train, judged, composed, division, foreign)
    return {**report, "words": words(report)}


def judge_checkpoint(folder: Path, rolls: Rolls, train: np.ndarray, judged: np.ndarray, size: str = "run") -> None:
    """Judge a checkpoint that has not been and keep the verdict in its card, as "judges"."""
    model, card = checkpoint.load(folder)
    if "judges" not in card:
        checkpoint.amend_card(folder, judges=judge(model, card, rolls, train, judged, size))


def _shuffled(songs: np.ndarray) -> np.ndarray:
    return np.random.default_rng(SEED + 1).permutation(songs)


# ---- clips


@dataclass(frozen=True)
class Cut:
    """How pieces are cut: `bars` of four beats a clip, `frames` a clip, at most `each` clips a piece, `pieces`."""

    bars: int
    frames: int
    each: int
    pieces: int
    division: Any

    @classmethod
    def of(cls, rolls: Rolls, songs: np.ndarray, division: Any, pieces: int) -> Cut:
        """The cut by which `songs` give about `pieces` clips, long ones if they may be."""
        bar = max(1, round(1 / division))
        lengths = rolls.lengths[songs]
        filled = [bars for bars in CLIP_BARS if len(songs) and (lengths >= bars * bar).mean() >= 0.5]
        bars = filled[0] if filled else CLIP_BARS[-1]
        each = int(np.clip(-(-pieces // max(len(songs), 1)), 1, min(CLIPS_A_SONG, pieces // 2)))
        return cls(bars, bars * bar, each, pieces, division)

    def clips(self, rolls: Rolls, songs: np.ndarray, like: Clips | None = None) -> Clips:
        """Clips of the first of `songs` that fill one; of as many as those of `like`, where that is given."""
        most = self.pieces if like is None else len(np.unique(like.piece))
        chosen = [s for s in songs if rolls.lengths[s] >= self.frames][:most]
        return self._cut([roll_from_frames(rolls.frames(s), self.division) for s in chosen], [self.each] * len(chosen))

    def composed(self, model: Model, card: dict[str, Any], rolls: Rolls, human: Clips, progress: Progress) -> Clips:
        """As many pieces as the human ones, at least FEWEST, each as many clips long as one of them."""
        each = np.bincount(human.piece) if len(human) else np.zeros(0, np.int64)
        each = [*each.tolist(), *[self.each] * (FEWEST - len(each))]
        names = card.get("data", {}).get("styles", ())
        whole = compose_pieces(model, card, len(each), max(each) * self.frames, len(names), progress)
        return self._cut([roll_from_frames(f, self.division) for f in whole], each)

    def _cut(self, whole: list[Roll], each: Sequence[int]) -> Clips:
        rolls, piece = [], []
        for i, (roll, most) in enumerate(zip(whole, each, strict=True)):
            begins = range(0, len(roll) - self.frames + 1, self.frames)[:most]
            rolls += [_part(roll, begin, begin + self.frames) for begin in begins]
            piece += [i] * len(begins)
        return Clips(rolls, np.array(piece, np.int64), whole)


def _part(roll: Roll, begin: int, end: int) -> Roll:
    return Roll(roll.sounding[begin:end], roll.onset[begin:end], roll.velocity[begin:end], roll.division)


def compose_pieces(
    model: Model, card: dict[str, Any], pieces: int, frames: int, n_styles: int = 0, progress: Progress = silent
) -> list[np.ndarray]:
    """`pieces` pieces from silence, uint8 [frames, W] each, as Compose draws them by default; styles take turns."""
    import torch

    how, generator = sampling(GenerateOptions(), card), torch.Generator().manual_seed(SEED)
    written: list[np.ndarray] = []
    while len(written) < pieces:
        progress("Composing pieces to judge", len(written), pieces)
        style = None
        if n_styles > 1:
            style = np.tile(np.eye(n_styles)[(len(written) // _turn(pieces, n_styles)) % n_styles], (frames, 1))
        batch = min(AT_ONCE if n_styles < 2 else _turn(pieces, n_styles), pieces - len(written))
        written += list(compose_frames(model, frames, how, generator=generator, batch_size=batch, style=style)[0])
    return written


def _turn(pieces: int, n_styles: int) -> int:
    """How many pieces are composed in one style before the next has its turn."""
    return max(1, min(AT_ONCE, -(-pieces // n_styles)))


# ---- what the judges say


def _features(tables: Sequence[dict], composed: Clips, human: Clips, real: Clips) -> dict[str, Any]:
    """For each feature the means of the three sets, and how model and control overlap the reference."""
    found = {}
    for name in FEATURES:
        mine, theirs, others = (table[name] for table in tables)
        row = {key: _mean(x) for key, x in (("composed", mine), ("human", theirs), ("control", others))}
        try:
            row["model"] = _rounded(compare(mine, theirs, composed.piece, human.piece))
            row["real"] = _rounded(compare(others, theirs, real.piece, human.piece))
        except OptionError as error:
            row["problem"] = str(error)
        found[name] = row
    return found


def _mean(x: np.ndarray) -> float | list[float] | None:
    if not len(x):
        return None
    means = [round(float(v), 4) for v in x.mean(0)]
    return means[0] if len(means) == 1 else means


def _rounded(overlap: Overlap) -> dict[str, float | None]:
    return {k: round(v, 4) if np.isfinite(v) else None for k, v in asdict(overlap).items()}


def _mean_overlap(rows: dict[str, Any]) -> dict[str, Any]:
    """The mean overlap area over all features, of the model and of the control."""
    whole = [row for row in rows.values() if "real" in row]
    if not whole:
        return {"problem": next(iter(rows.values()))["problem"]}
    return {who: round(float(np.mean([row[who]["area"] for row in whole])), 4) for who in ("model", "real")}


def columns(tables: Sequence[dict[str, np.ndarray]]) -> list[np.ndarray]:
    """All features side by side, [N, D] for each table, as the classifier sees them."""
    return [np.concatenate([table[name] for name in FEATURES], 1) for table in tables]


def _two_sample(tables: Sequence[dict], composed: Clips, human: Clips, real: Clips) -> dict[str, Any]:
    """Whether the model's clips, and the control's, can be told from the reference."""
    mine, theirs, others = columns(tables)
    try:
        model = two_sample(mine, theirs, composed.piece, human.piece, SEED)
        control = two_sample(others, theirs, real.piece, human.piece, SEED)
    except OptionError as error:
        return {"problem": str(error)}
    return {"model": _plain(model), "real": _plain(control)}


def _plain(result: TwoSample) -> dict[str, Any]:
    values = {k: v if isinstance(v, int) else round(v, 4) for k, v in asdict(result).items() if k != "telltales"}
    return values | {"telltales": [telltale_words(t) for t in result.telltales]}


def telltale_words(telltale: Telltale) -> str:
    """What gives the music away: "too few rests"."""
    column = telltale.column
    for feature in FEATURES.values():
        width = max(1, len(feature.classes))
        if column < width:
            text = feature.more if telltale.higher else feature.less
            return text.format(feature.classes[column]) if feature.classes else text
        column -= width
    raise IndexError(f"there is no feature column {telltale.column}")


def _originality(
    rolls: Rolls, train: np.ndarray, judged: np.ndarray, composed: Clips, division: Any, foreign: bool
) -> dict[str, Any]:
    if foreign:
        return {"problem": "what is new is judged beside the songs a model was trained on; leave -p out"}
    index, human = make_index(rolls, train, judged, division)
    found = [index.search(piece) for piece in composed.whole]
    shares = [shared.share(human.mark) for shared in found]
    return {
        "songs": len(train),
        "chords_in_a_row": index.n,
        "mark": human.mark,
        "human": {
            "pieces": len(human.shares), "held_out": human.held_out, "share": round(human.mean, 4),
            "limit": round(human.limit, 4), "longest": max(human.longest, default=0),
        },
        "composed": {
            "pieces": len(found), "share": round(float(np.mean(shares)), 4) if shares else 0.0,
            "beyond": sum(share > human.limit for share in shares),
            "longest": max((shared.longest for shared in found), default=0),
        },
        "warning": memorised(found, human),
    }  # fmt: skip


def make_index(rolls: Rolls, train: np.ndarray, judged: np.ndarray, division: Any) -> tuple[Index, originality.Human]:
    """The index of the training songs, and what human pieces share with them."""
    index = Index(roll_from_frames(rolls.frames(s), division) for s in train)
    return index, calibrate(index, [roll_from_frames(rolls.frames(s), division) for s in judged])


def as_seen(song: Song, card: dict[str, Any]) -> Roll:
    """A song as the model's training songs are: on its grid, with its planes."""
    options = card["options"]
    division, planes = parse_division(options.get("division", "1/16")), options.get("planes", "sounding")
    return roll_from_frames(song_frames(song, division, options.get("voices", "all"), planes=planes), division)


# ---- in words


def words(report: dict[str, Any]) -> list[str]:
    """The report in a few sentences, warnings among them."""
    said = [two_sample_words(report["two_sample"]), overlap_words(report["overlap"])]
    found = report["originality"]
    if "problem" not in found:
        said.append(found["warning"] or originality_words(found))
    return [sentence for sentence in said if sentence]


def two_sample_words(found: dict[str, Any]) -> str:
    """What the classifier reached, beside the control."""
    if "problem" in found:
        return f"Whether its music can be told from human music was not tried: {found['problem']}."
    model, real = found["model"], found["real"]
    text = (
        f"A classifier tells its music from held-out human music {_share(model)}, and one set of human music from "
        f"another {_share(real)}; at 50% it only guesses."
    )
    if model["low"] <= 0.5:
        text += " From so few pieces that proves nothing; more held-out songs would."
    return text + (f" What gives it away: {', '.join(model['telltales'])}." if model["telltales"] else "")


def _share(result: dict[str, Any]) -> str:
    accuracy, low, high = (100 * result[name] for name in ("accuracy", "low", "high"))
    return f"{accuracy:.0f}% of the time ({low:.0f} to {high:.0f}%)"


def overlap_words(found: dict[str, Any]) -> str:
    """The mean overlap, beside the ceiling."""
    if "problem" in found:
        return ""
    return (
        f"Feature by feature its music overlaps human music by {found['model']:.0%} on average; two sets of human "
        f"music overlap by {found['real']:.0%}."
    )


def originality_words(found: dict[str, Any]) -> str:
    """How much is quoted, beside human pieces."""
    composed, human = found["composed"], found["human"]
    return (
        f"{composed['share']:.0%} of its chords stand in training songs, in passages of more than {found['mark']} "
        f"chords; of human pieces that were not learnt from, {human['share']:.0%} do."
    )
