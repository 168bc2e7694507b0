"""Save and load models: a folder with `model.safetensors` and `card.json`, and nothing that can run code.

The card tells what the model is (its description rebuilds it), what it was trained on, what it scored and with which
version. A checkpoint is written beside its final place and renamed into it, so it is there whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from deepmusician import __version__
from deepmusician.atomic import AtomicFolder, replace_file
from deepmusician.errors import CheckpointError, LibraryError
from deepmusician.workspace import check_mine, run_folder

if TYPE_CHECKING:
    from torch import Tensor, nn

    Specs = dict[str, tuple[str, tuple[int, ...]]]  # of each tensor: its type as safetensors names it, and its shape

WEIGHTS, CARD = "model.safetensors", "card.json"
PRIMES = "primes"  # uint8 [K, n, 11]: openings of held-out pieces, to guide composing with
BUNDLED = Path(__file__).resolve().parent.parent / "checkpoints"
LONGEST_CARD = 32_000_000  # bytes; it names every song that was held out
LONGEST_HEADER = 4_000_000  # bytes; a model of ours needs a few thousand
LARGEST_PRIMES = 2**24  # bytes
MILESTONES = "milestones"  # of a run: the models of chosen epochs
WHICH = ("chosen", "best", "last")  # the model of a run: the one chosen by ear, else by validation, else the last


def bundled() -> list[Path]:
    """The checkpoints that come with the studio."""
    return sorted(card.parent for card in BUNDLED.glob(f"*/{CARD}"))


def find(source: str | Path) -> Path:
    """The checkpoint folder meant by a path, a run's folder or name, RUN@EPOCH, or a bundled checkpoint's name."""
    places = [Path(source), BUNDLED / str(source)]
    if _is_name(source):
        places.insert(1, run_folder(str(source)))
    for place in places:
        for folder in (place, *(place / "checkpoints" / which for which in WHICH)):
            if (folder / CARD).is_file() and _may_read(folder):
                return folder
    if "@" in str(source):
        return _find_epoch(str(source))
    if any(p.is_dir() for p in places[:-1]):
        raise CheckpointError(f"{source} holds no checkpoint yet; train for an epoch first")
    known = ", ".join(path.name for path in bundled()) or "none"
    raise CheckpointError(
        f"no checkpoint or run called {source}; give a run's name, a folder, or a bundled one ({known})"
    )


def _find_epoch(source: str) -> Path:
    """The model that a run kept of one epoch, by RUN@EPOCH."""
    name, _, epoch = source.rpartition("@")
    folder = (run_folder(name) if _is_name(name) else Path(name)) / MILESTONES
    found = folder / milestone(int(epoch)) if epoch.isascii() and epoch.isdigit() else folder / epoch
    if found.name != epoch and (found / CARD).is_file() and _may_read(found):
        return found
    kept = ", ".join(str(int(p.parent.name[6:])) for p in sorted(folder.glob(f"epoch-*/{CARD}"))) or "none"
    raise CheckpointError(f"{source} is no model that was kept; of {name} there are the epochs: {kept}")


def _may_read(folder: Path) -> bool:
    """Whether it is this person's, or comes with the studio."""
    if folder.resolve().is_relative_to(BUNDLED):
        return True
    try:
        check_mine(folder)
    except LibraryError:
        return False
    return True


def milestone(epoch: int) -> str:
    """The name of the folder and of the sample of an epoch; they sort as their epochs do."""
    return f"epoch-{epoch:04d}"


def _is_name(source: str | Path) -> bool:
    """Whether this may be a run's name rather than a path."""
    return isinstance(source, str) and Path(source).name == source


def read_card(source: str | Path) -> dict[str, Any]:
    """What a checkpoint says of itself; needs no torch. Raises CheckpointError."""
    path = find(source) / CARD
    try:
        with path.open("rb") as file:
            text = file.read(LONGEST_CARD + 1)
        if len(text) > LONGEST_CARD:
            raise ValueError(f"it has more than {LONGEST_CARD:,} bytes")
        card = json.loads(text.decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
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
    replace_file(folder / CARD, _card_text(card))


def _card_text(card: dict[str, Any]) -> str:
    return json.dumps(card, indent=2, ensure_ascii=False) + "\n"


def load(source: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    """The model, ready to compose, and its card. Raises CheckpointError where file and description do not fit."""
    from deepmusician.models.registry import build, modern_names

    card, path = read_card(source), find(source) / WEIGHTS
    try:
        with path.open("rb") as file:
            check_fit(card, tensor_specs(file))
    except OSError as error:
        raise _unreadable(path.name, error) from None
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    tensors = read_tensors(path)
    tensors.pop(PRIMES, None)
    model = build(card["model"])
    check_finite(tensors)
    model.load_state_dict(modern_names(tensors))
    return model.eval(), card


def load_whole(source: str | Path) -> tuple[nn.Module, dict[str, Any], Tensor | None]:
    """The model, its card, and the openings of held-out pieces; a composer who has them reads nothing again."""
    return *load(source), load_primes(source)


def fingerprint(source: str | Path) -> str:
    """A short name for exactly these weights."""
    return digest(find(source) / WEIGHTS)[:16]


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_primes(source: str | Path) -> Tensor | None:
    """Openings of held-out pieces, uint8 [K, n, 11] packed frames, or None where the checkpoint has none."""
    from safetensors import SafetensorError, safe_open

    path = find(source) / WEIGHTS
    try:
        with safe_open(path, "pt") as file:  # the weights stay on disk
            return file.get_tensor(PRIMES) if PRIMES in file.keys() else None  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise _unreadable(str(path), error) from None


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file. Raises CheckpointError."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise _unreadable(str(path), error) from None


def _unreadable(name: str, error: object) -> CheckpointError:
    return CheckpointError(f"{name} cannot be read as safetensors ({error}); it is damaged or incomplete")


def tensor_specs(file: BinaryIO) -> Specs:
    """The names, types and shapes in a safetensors file, by its header alone. Raises CheckpointError."""
    try:
        size = int.from_bytes(file.read(8), "little")
        if size > LONGEST_HEADER:
            raise ValueError(f"its header would take {size} bytes")
        header = json.loads(file.read(size))
        header.pop("__metadata__", None)
        return {name: (str(t["dtype"]), tuple(map(int, t["shape"]))) for name, t in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _unreadable(WEIGHTS, error) from None


def check_fit(card: dict[str, Any], found: Specs) -> None:
    """Compare a file's tensors with the card's model before memory is given to either. Raises CheckpointError."""
    import torch

    from deepmusician.models.registry import build, modern_names

    with torch.device("meta"):  # shapes without memory
        wanted = build(card["model"]).state_dict()
    found = modern_names(found)
    primes = found.pop(PRIMES, None)
    if primes and (primes[0] != "U8" or len(primes[1]) != 3 or math.prod(primes[1]) > LARGEST_PRIMES):
        raise CheckpointError(f"the openings to compose from must be at most {LARGEST_PRIMES} bytes, got {primes}")
    odd = sorted(set(wanted) ^ set(found))
    if odd:
        raise CheckpointError(f"the weights do not fit the card: {odd[0]!r} is on one side only")
    for name, (kind, shape) in found.items():
        have, need = list(shape), list(wanted[name].shape)
        if have != need:
            raise CheckpointError(f"the weights do not fit the card: {name} is {have}, should be {need}")
        if kind != "F32":
            raise CheckpointError(f"the weights must be 32-bit numbers (F32), got {kind} for {name}")


def check_finite(tensors: dict[str, Tensor]) -> None:
    """Raises CheckpointError where a weight is no number."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise CheckpointError(
                f"{name} holds values that are no numbers; the training diverged or the file is damaged"
            )
