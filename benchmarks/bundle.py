"""Make a bundled checkpoint of a run: its best weights, a full card, and samples to hear.

    python benchmarks/bundle.py RUN NAME --title "…" --description "…" [--tempo 80] [--program 0]

Writes checkpoints/NAME with model.safetensors, card.json (what it was trained on and by which command, its scores on
the held-out songs beside the baselines, the judges' report and how to ask for it again, listening proxies of what it
composes beside the held-out songs) and samples/.
"""

from __future__ import annotations

import argparse
import shutil

import numpy as np
import torch
from proxies import pieces

from deepmusician import checkpoint
from deepmusician.evaluation import evaluate
from deepmusician.generation import compose, sampling
from deepmusician.metrics import find_collapse, held_share, scale_consistency
from deepmusician.midi import write_midi
from deepmusician.options import GenerateOptions, TrainOptions, from_dict
from deepmusician.recipes import train_command
from deepmusician.render import render, write_audio
from deepmusician.rolls import read_rolls

BARS = 16
SEEDS = (1, 2, 3)


def main() -> None:
    """Bundle one run."""
    args = arguments()
    model, card = checkpoint.load(args.run)
    primes = checkpoint.load_primes(args.run)
    report = evaluate(args.run, size="full")
    flags = train_command(from_dict(TrainOptions, card["options"]))
    card |= {"command": f"deepmusician train {flags} --run {args.name}"}
    card |= {"title": args.title, "description": args.description}
    card["composing"] = {"tempo_bpm": args.tempo, "program": args.program}
    card["scores"] = {k: report[k] for k in ("songs", "frames", "threshold", "model", "baselines")}
    card["judges"] = {"command": f"deepmusician evaluate -c {args.name} --full"} | report["judges"]
    card["proxies"] = proxies(model, card)
    folder = checkpoint.BUNDLED / args.name
    shutil.rmtree(folder, ignore_errors=True)
    card.pop("model")
    checkpoint.save(folder, model, rounded(card), primes)
    samples(folder, card, args)
    print(f"{folder}: {sum(p.stat().st_size for p in folder.rglob('*')) / 2**20:.1f} MiB")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("name")
    parser.add_argument("--title", required=True)
    parser.add_argument("--description", required=True)
    parser.add_argument("--tempo", type=float, default=80.0)
    parser.add_argument("--program", type=int, default=0)
    return parser.parse_args()


def proxies(model: torch.nn.Module, card: dict) -> dict[str, dict[str, float]]:
    """What 16 pieces, drawn as Compose does by default, are like beside the held-out ones."""
    frames = frames_of(card)
    composed = pieces(model, sampling(GenerateOptions(), card), "zero", argparse.Namespace(frames=frames, pieces=16))
    names, rolls = read_rolls(from_dict(TrainOptions, card["options"]))
    held_out = set(card["data"]["held_out"])
    human = [rolls.sounding(i)[:frames] for i, name in enumerate(names) if name in held_out]
    return {"composed": describe(composed, card), "held_out": describe(human, card)}


def describe(rolls: list[np.ndarray], card: dict) -> dict[str, float]:
    chords = [len(np.unique(np.packbits(r, axis=1), axis=0)) / len(r) for r in rolls]
    return {
        "pieces": len(rolls),
        "notes_a_frame": float(np.mean([r.sum(1).mean() for r in rolls])),
        "held_share": float(np.mean([held_share(r) for r in rolls])),
        "scale_consistency": float(np.mean([scale_consistency(r) for r in rolls])),
        "different_chords": float(np.mean(chords)),
        "collapsed": sum(bool(find_collapse(r, card["data"]["held_share"])) for r in rolls),
    }


def frames_of(card: dict) -> int:
    """Frames of BARS bars of four crotchets."""
    from deepmusician.roll import parse_division

    return int(BARS / parse_division(card["options"].get("division", "1/16")))


def samples(folder: object, card: dict, args: argparse.Namespace) -> None:
    """Three pieces as MIDI, the first also as sound."""
    (folder / "samples").mkdir()
    for seed in SEEDS:
        options = GenerateOptions(seq_len=frames_of(card), seed=seed, tempo_bpm=args.tempo, program=args.program)
        song = compose(folder, options).song
        write_midi(song, folder / "samples" / f"seed-{seed}.mid")
        if seed == SEEDS[0]:
            write_audio(render(song), folder / "samples" / f"seed-{seed}.ogg")


def rounded(value: object) -> object:
    """Floats to five digits, for a card that people read."""
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return round(value, 5) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
