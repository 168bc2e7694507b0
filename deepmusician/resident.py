"""Windows cut where they are trained on: the packed rolls lie on the device once, and only places and moves travel.

The batches are those of `Windows.batch`, to the bit. A frame takes 11 bytes for each plane of keys and 88 for its
velocities, so that a graphics card holds whole collections. Tests run all of it on a processor, where it is slower than
NumPy and not used; on a graphics card it was never tried.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from deepmusician.models.contract import Batch
from deepmusician.models.frames import BITS_PLANES, LOUDEST
from deepmusician.roll import KEYS

if TYPE_CHECKING:
    from deepmusician.windows import Windows

SHARE = 0.25  # of the device's free memory, which the rolls may take
PART = 1 << 24  # bytes that travel together


def where_it_trains(windows: Windows, device: torch.device) -> Windows | Resident:
    """What cuts batches for `device`: there, if it is a graphics card with room for the rolls; else from memory."""
    if device.type == "cuda" and size(windows) <= SHARE * torch.cuda.mem_get_info(device)[0]:
        return Resident(windows, device)
    return windows


def size(windows: Windows) -> int:
    """Bytes of the planes that windows are cut from."""
    rolls = windows.rolls
    return sum(plane.nbytes for plane in (rolls.packed, rolls.onset, rolls.velocity) if plane is not None)


class Resident:
    """The windows of `windows`, cut on `device`."""

    def __init__(self, windows: Windows, device: torch.device) -> None:
        rolls = windows.rolls
        self.seq_len, self.device = windows.seq_len, device
        self.source_len = windows.seq_len if windows.source_len is None else windows.source_len
        self.packed = [_moved(plane, device) for plane in (rolls.packed, rolls.onset) if plane is not None]
        self.velocity = None if rolls.velocity is None else _moved(rolls.velocity, device)
        self.starts, self.lengths, self.styles = (
            torch.from_numpy(np.asarray(each, np.int64)).to(device)
            for each in (rolls.starts, rolls.lengths, rolls.styles)
        )
        self.n_styles = len(rolls.style_names)
        # a number that is not there would be turned into its inverse, which loses a bit
        self.loudest = torch.full((), LOUDEST, dtype=torch.float32, device=device)

    def batch(self, places: np.ndarray, steps: np.ndarray) -> Batch:
        """See Windows.batch."""
        song, begin = torch.from_numpy(np.asarray(places, np.int64)).to(self.device).unbind(1)
        moves = torch.from_numpy(np.asarray(steps, np.int64)).to(self.device)
        first = begin.clamp(min=0)
        at = first[:, None] + torch.arange(-self.source_len, self.seq_len, device=self.device)
        end = torch.minimum(self.lengths[song], begin + self.seq_len)
        inside = (at >= 0) & (at < end[:, None])
        frames = self._frames(torch.where(inside, at + self.starts[song][:, None], 0)) * inside[..., None, None]
        seen = _transposed(frames, moves).float()
        seen[:, :, BITS_PLANES:] /= self.loudest
        window = seen.flatten(2)
        style = torch.eye(self.n_styles, device=self.device)[self.styles[song]] if self.n_styles > 1 else None
        source, target = window[:, : self.source_len], window[:, self.source_len :]
        return Batch(source, target, inside[:, self.source_len :], style, first)

    def _frames(self, at: Tensor) -> Tensor:
        """The planes at `at` [B, T], side by side: uint8 [B, T, P, 88]."""
        planes = [_unpacked(packed[at]) for packed in self.packed]
        return torch.stack(planes if self.velocity is None else [*planes, self.velocity[at]], 2)


def _moved(plane: np.ndarray, device: torch.device) -> Tensor:
    """`plane` [F, n] on the device, some frames at a time: it may be mapped from disk and larger than memory."""
    there = torch.empty(plane.shape, dtype=torch.uint8, device=device)
    rows = max(1, PART // plane.shape[1])
    for begin in range(0, len(plane), rows):
        there[begin : begin + rows] = torch.from_numpy(np.array(plane[begin : begin + rows]))
    return there


def _unpacked(packed: Tensor) -> Tensor:
    """uint8 [..., 11] to uint8 [..., 88], the first bit of a byte being its highest; see roll.unpack."""
    places = torch.arange(7, -1, -1, dtype=torch.uint8, device=packed.device)
    return ((packed[..., None] >> places) & 1).flatten(-2)


def _transposed(frames: Tensor, steps: Tensor) -> Tensor:
    """Each window of [B, T, P, 88] moved by its number of semitones [B], as far as its keys stay on the keyboard."""
    used = frames[:, :, 0].amax(1)  # [B, 88]
    lowest, highest = used.argmax(1), KEYS - 1 - used.flip(1).argmax(1)
    steps = torch.where(used.amax(1) > 0, steps.clamp(-lowest, KEYS - 1 - highest), 0)
    columns = torch.arange(KEYS, device=frames.device) - steps[:, None]
    there = (columns >= 0) & (columns < KEYS)
    columns = columns.clamp(0, KEYS - 1)[:, None, None].expand(frames.shape)
    return frames.gather(3, columns) * there[:, None, None]
