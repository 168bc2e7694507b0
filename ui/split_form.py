"""Which songs are trained on and which are held out to judge the model: shown, and changed by pinning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import streamlit as st

from deepmusician.options import TrainOptions
from ui import examined
from ui.words import count

if TYPE_CHECKING:
    from ui.examined import Examined

TRAINING, HELD_OUT = "training", "held out"


def show_split(seen: Examined) -> None:
    """The split as a list of the held-out songs that can be added to and taken from."""
    inside = [r.name for r in seen.reports if r.is_in]
    held = [r.name for r, side in zip(seen.reports, seen.where, strict=True) if side == HELD_OUT]
    pinned = [r.name for r in seen.reports if r.is_in and r.choice.side]
    with st.expander(
        f"Training and held-out songs: {len(inside) - len(held)} and {len(held)}", icon=":material/call_split:",
        key=f"split.{seen.name}", on_change="rerun",  # so that it stays open while songs are moved
    ):  # fmt: skip
        st.markdown(
            "Held-out songs are never learnt from; they judge the model. Add or take away songs here; those you touch "
            "are pinned, whatever share and seed are chosen on Train (shown is what holds for "
            f"{TrainOptions.valid_fraction:.0%} and seed {TrainOptions.seed}). {count(len(pinned), 'song')} pinned."
        )
        key = f"split.held.{seen.name}"
        st.session_state[key] = held
        st.multiselect("Held out", inside, key=key, on_change=lambda: _pin(seen, held, st.session_state[key]))
        with st.container(horizontal=True):
            everywhere = {r.name: side for r, side in zip(seen.reports, seen.where, strict=True) if r.is_in}
            _button(seen, "Pin all as shown", "keep", "pinned the whole split", everywhere)
            _button(seen, "Leave all to chance", "casino", "unpinned the whole split", dict.fromkeys(pinned, ""))


def _pin(seen: Examined, before: list[str], after: list[str]) -> None:
    added, taken = [n for n in after if n not in before], [n for n in before if n not in after]
    words = [f"held out {_named(added)}"] if added else []
    words += [f"put {_named(taken)} into training"] if taken else []
    sides = dict.fromkeys(added, HELD_OUT) | dict.fromkeys(taken, TRAINING)
    examined.decide(seen.name, " and ".join(words), _changes(seen, sides))


def _named(names: list[str]) -> str:
    return names[0] if len(names) == 1 else count(len(names), "song")


def _button(seen: Examined, label: str, icon: str, what: str, sides: Mapping[str, str]) -> None:
    changes = _changes(seen, sides)
    idle = all(seen.decisions.of(name) == choice for name, choice in changes.items())
    st.button(
        label, key=f"split.{icon}", icon=f":material/{icon}:", disabled=idle, on_click=examined.decide,
        args=(seen.name, what, changes),
    )  # fmt: skip


def _changes(seen: Examined, sides: Mapping[str, str]) -> dict:
    return {name: replace(seen.decisions.of(name), side=side) for name, side in sides.items()}
