"""Which parts of a model do not go together."""

from __future__ import annotations

from typing import Any

from deepmusician.errors import ClashError


def check_parts(o: Any) -> None:
    """Refuse what does not go together in TrainOptions. Raises ClashError: rule, values, remedy."""
    skip = "got {skip} {skip=off}; turn {skip} {skip=on}"
    if o.head == "melody" and o.voices != "melody":
        raise ClashError(
            f"{{head}} {{head=melody}} draws one key a frame, got {{voices}} {{voices={o.voices}}}; "
            "set {voices} to {voices=melody}"
        )
    if o.head == "melody" and not o.skip:
        raise ClashError(f"{{head}} {{head=melody}} holds the last frame's key, {skip}")
    if o.head in ("axis", "intervals") and o.backbone not in ("biaxial", "biaxial-lstm"):
        raise ClashError(
            f"{{head}} {{head={o.head}}} reads a context of each key, got {{backbone}} {{backbone={o.backbone}}}; "
            "set it to {backbone=biaxial}"
        )
    if o.planes != "sounding" and not o.skip:
        raise ClashError(f"{{planes}} {{planes={o.planes}}} needs to know what sounded before, {skip}")
    if o.arrangement == "expression" and o.planes != "velocity":
        raise ClashError(
            f"{{arrangement}} {{arrangement=expression}} gives velocities, got {{planes}} {{planes={o.planes}}}; "
            "set {planes} to {planes=velocity}"
        )
    check_network(o)


def check_network(o: Any) -> None:
    """The same for what ModelConfig knows of it, too: of a network that stands in a card. Raises ClashError."""
    if o.attention != "none" and o.arrangement != "encoder-decoder":
        raise ClashError(
            f"{{attention}} {{attention={o.attention}}} looks at an encoder, got {{arrangement}} "
            f"{{arrangement={o.arrangement}}}, which has none (attention looks from the decoder at the encoder); "
            "set it to {arrangement=encoder-decoder}, or {attention} to {attention=none}"
        )
    if o.members > 1 and (o.attention != "none" or o.arrangement == "expression"):
        raise ClashError(
            f"{{members}} {o.members} answer as one, got {{arrangement}} {{arrangement={o.arrangement}}} with "
            f"{{attention}} {{attention={o.attention}}}, which a committee cannot have; set {{members}} to 1, "
            "or choose {arrangement=decoder} or {arrangement=encoder-decoder} with {attention} {attention=none}"
        )
    if o.backbone == "transformer" and o.hidden_size % (2 * o.attention_heads):
        raise ClashError(
            f"{{hidden_size}} of a transformer must be a multiple of twice {{attention_heads}}, got {o.hidden_size} "
            f"and {o.attention_heads}; change either"
        )
