"""What a run and its models say of the music they learnt: counts, held-out songs, and hashes that tell what it was."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from deepmusician.metrics import held_share
from deepmusician.options import TrainOptions
from deepmusician.rolls import Rolls


def describe_data(options: TrainOptions, names: tuple[str, ...], rolls: Rolls, valid: np.ndarray) -> dict[str, Any]:
    """What a card says of the music: counts, held-out songs, and a fingerprint that tells whether it has changed."""
    shares = [held_share(rolls.sounding(i)) for i in range(len(rolls))]
    return {
        "source": options.path,
        "songs": len(rolls),
        "frames": int(rolls.lengths.sum()),
        "density": round(rolls.density, 4),
        "held_share": round(float(np.average(shares, weights=rolls.lengths)), 4),
        "styles": list(rolls.style_names) if len(rolls.style_names) > 1 else [],
        "held_out": [names[i] for i in valid],
        "fingerprint": fingerprint(rolls),
    }


def fingerprint(rolls: Rolls) -> str:
    """A short name for exactly this music on this grid; where the split runs through it is no part of it."""
    digest = hashlib.sha256()
    for part in rolls.parts():
        digest.update(np.ascontiguousarray(part))
    digest.update(rolls.lengths.tobytes())
    return digest.hexdigest()[:16]


def describe_songs(names: tuple[str, ...], rolls: Rolls, valid: np.ndarray) -> list[dict[str, Any]]:
    """Each song as the model sees it: its name, its frames, whether it is held out, and a hash of all it holds."""
    held_out = set(valid.tolist())
    return [
        {
            "name": name,
            "frames": int(rolls.lengths[i]),
            "held_out": i in held_out,
            "sha256": hashlib.sha256(rolls.frames(i).tobytes()).hexdigest(),
        }
        for i, name in enumerate(names)
    ]
