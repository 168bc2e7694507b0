"""Save and load models: a folder with `model.safetensors` and `card.json`, and nothing that can run code.

The card tells what the model is (its description rebuilds it), what it was trained on, what it scored and with which
version. A checkpoint is written beside its final place and renamed into it, so it is there whole or not at all.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepmusician import __version__
from deepmusician.errors import CheckpointError
from deepmusician.workspace import workspace

if TYPE_CHECKING:
    from torch import Tensor, nn

WEIGHTS, CARD = "model.safetensors", "card.json"
PRIMES = "primes"  # uint8 [K, n, 11]: openings of held-out pieces, to guide composing with
BUNDLED = Path(__file__).resolve().parent.parent / "checkpoints"


def bundled() -> list[Path]:
    """The checkpoints that come with the studio."""
    return sorted(card.parent for card in BUNDLED.glob(f"*/{CARD}"))


def find(source: str | Path) -> Path:
    """The checkpoint folder meant by a path, a run's folder or name, or a bundled checkpoint's name."""
    places = [Path(source), workspace() / "runs" / str(source), BUNDLED / str(source)]
    for place in places:
        for folder in (place, place / "checkpoints" / "best", place / "checkpoints" / "last"):
            if (folder / CARD).is_file():
                return folder
    known = ", ".join(path.name for path in bundled()) or "none"
    if any(p.is_dir() for p in places[:2]):
        raise CheckpointError(f"{source} holds no checkpoint yet; train for an epoch first")
    raise CheckpointError(
        f"no checkpoint or run called {source}; give a run's name, a folder, or a bundled one ({known})"
    )


def read_card(source: str | Path) -> dict[str, Any]:
    """What a checkpoint says of itself; needs no torch. Raises CheckpointError."""
    path = find(source) / CARD
    try:
        card = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not a readable card: {error}") from None
    if not isinstance(card, dict) or not isinstance(card.get("model"), dict):
        raise CheckpointError(f"{path} does not describe a model; it is not a Deep Musician checkpoint")
    return card


def save(folder: Path, model: nn.Module, card: dict[str, Any], primes: Tensor | None = None) -> Path:
    """Write a checkpoint to the new `folder`; returns it."""
    from safetensors.torch import save_file

    tensors = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    if primes is not None:
        tensors[PRIMES] = primes.contiguous()
    card = {"model": model.card(), "version": __version__, **card}
    with AtomicFolder(folder) as draft:
        save_file(tensors, draft / WEIGHTS)
        (draft / CARD).write_text(_card_text(card), "utf-8")
    return folder


def amend_card(folder: Path, **values: Any) -> None:
    """Replace entries of a checkpoint's card in one step."""
    card = {**read_card(folder), **values}
    draft = folder / f".{CARD}.{os.getpid()}.tmp"
    draft.write_text(_card_text(card), "utf-8")
    flush(draft)
    os.replace(draft, folder / CARD)


def _card_text(card: dict[str, Any]) -> str:
    return json.dumps(card, indent=2, ensure_ascii=False) + "\n"


def load(source: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    """The model, ready to compose, and its card. Raises CheckpointError where file and description do not fit."""
    from deepmusician.models.registry import build, modern_names

    card = read_card(source)
    tensors = read_tensors(find(source) / WEIGHTS)
    tensors.pop(PRIMES, None)
    tensors = modern_names(tensors)
    model = build(card["model"])
    _match(model.state_dict(), tensors)
    model.load_state_dict(tensors)
    return model.eval(), card


def load_primes(source: str | Path) -> Tensor | None:
    """Openings of held-out pieces, uint8 [K, n, 11] packed frames, or None where the checkpoint has none."""
    return read_tensors(find(source) / WEIGHTS).get(PRIMES)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file. Raises CheckpointError."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read as safetensors ({error}); it is damaged or incomplete") from None


def _match(wanted: dict[str, Tensor], found: dict[str, Tensor]) -> None:
    """Compare names, shapes and finiteness before anything is copied."""
    odd = sorted(set(wanted) ^ set(found))
    if odd:
        raise CheckpointError(f"the weights do not fit the card: {odd[0]!r} is on one side only")
    for name, tensor in found.items():
        if tensor.shape != wanted[name].shape:
            have, need = list(tensor.shape), list(wanted[name].shape)
            raise CheckpointError(f"the weights do not fit the card: {name} is {have}, should be {need}")
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise CheckpointError(
                f"{name} holds values that are no numbers; the training diverged or the file is damaged"
            )


class AtomicFolder:
    """A folder that appears whole or not at all: filled beside its place, flushed to disk, renamed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.draft = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")

    def __enter__(self) -> Path:
        shutil.rmtree(self.draft, ignore_errors=True)
        self.draft.mkdir(parents=True)
        return self.draft

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is not None:
            shutil.rmtree(self.draft, ignore_errors=True)
            return
        for path in self.draft.iterdir():
            flush(path)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.draft.rename(self.folder)
        flush(self.folder.parent)


def flush(path: Path) -> None:
    """Ask the disk to keep a file or folder through a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
