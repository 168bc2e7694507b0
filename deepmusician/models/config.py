"""All that decides what a model is: its parts by name and their sizes. A checkpoint's card holds it.

A model is composed: a backbone carries time, a head says what one frame is, an arrangement joins them, perhaps with
attention, styles and a clock. Which of them go together is checked here, before anything is built.
"""

from __future__ import annotations

from dataclasses import dataclass

from deepmusician.clashes import check_network
from deepmusician.errors import OptionError
from deepmusician.roll import KEYS, PLANES

ARRANGEMENTS = ("encoder-decoder", "decoder", "expression")
ATTENTION = ("none", "additive", "dot")


@dataclass(frozen=True)
class ModelConfig:
    """The parts and their sizes; the defaults are the original.

    `clock` tells the model how many frames the piece is old; `skip` hands the head the last frame itself; `memory` is
    how many frames a Transformer looks back at most; `members` is how many such networks answer together; `n_styles` is
    1 where there is nothing to choose from.
    """

    arrangement: str = "encoder-decoder"
    backbone: str = "gru"
    attention: str = "none"
    head: str = "keys"
    planes: str = "sounding"
    n_styles: int = 1
    clock: bool = False
    skip: bool = False
    seq_len: int = 64
    hidden_size: int = 512
    num_layers: int = 2
    decoder_n_layers: int = 2
    dropout: float = 0.2
    classifier_size: int = 256
    classifier_dropout: float = 0.5
    kernel_size: int = 3
    attention_heads: int = 4
    memory: int = 128
    members: int = 1
    loss: str = "focal"
    alpha: float = 0.75
    gamma: float = 2.0

    def __post_init__(self) -> None:
        for name, value, known in (
            ("arrangement", self.arrangement, ARRANGEMENTS),
            ("attention", self.attention, ATTENTION),
            ("planes", self.planes, PLANES),
        ):
            if value not in known:
                raise OptionError(f"{name} must be one of {', '.join(known)}, got {value!r}")
        check_network(self)

    @property
    def n_planes(self) -> int:
        """How many planes a frame has: 1, 2 or 3."""
        return PLANES.index(self.planes) + 1

    @property
    def frame_size(self) -> int:
        """Columns of a frame: 88 for each plane."""
        return KEYS * self.n_planes
