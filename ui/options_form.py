"""A control for every option, built from the options' own tables: its range, its default and its help text."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import Field
from fractions import Fraction
from typing import Any

import streamlit as st

from deepmusician.errors import ClashError
from deepmusician.options import TrainOptions
from deepmusician.recipes import Recipe, list_recipes

LABELS = {
    "path": "Music",
    "n_epochs": "Epochs",
    "batch_size": "Windows in a step",
    "seq_len": "Frames in a window",
    "stride": "Frames between windows",
    "balance": "Balance between songs",
    "hidden_size": "Units in a layer",
    "num_layers": "Layers",
    "decoder_n_layers": "Layers of a decoder after an encoder",
    "clock": "Clock",
    "skip": "Last frame shown to the head",
    "kernel_size": "Frames in a convolution",
    "attention_heads": "Heads of a Transformer",
    "memory": "Frames a Transformer looks back",
    "averaging": "Averaging of the weights",
    "arrangement": "Arrangement",
    "backbone": "What carries time (backbone)",
    "attention": "Attention, looking back",
    "head": "How a frame is drawn (head)",
    "loss": "Loss",
    "voices": "Which notes",
    "planes": "Learnt of each note",
    "members": "Networks that answer together",
    "classifier_size": "Units in the classifier",
    "classifier_dropout": "Dropout in the classifier",
    "gamma": "γ, focus on what is hard",
    "alpha": "α, weight of sounding keys",
    "teacher_forcing_ratio": "Teacher forcing",
    "guesses": "Own guesses follow",
    "threshold": "Threshold",
    "transpose": "Random transposition (semitones)",
    "remove_zeros": "Leave out silent frames",
    "division": "Length of a frame",
    "valid_fraction": "Share of songs held out",
    "milestones": "Epochs whose model is kept",
    "start_from": "Begin with the model",
    "accelerator": "Computed by",
    "precision": "Number format",
    "top_p": "Top-p",
    "fullness": "Density (thinner ↔ fuller)",
    "init": "Beginning",
    "keep": "Keep that piece in front",
    "opening": "Which opening",
    "scale": "Keep to a scale",
    "variations": "Variations at once",
    "sampler": "How notes are chosen",
    "tempo_bpm": "Tempo (beats a minute)",
}
DIVISIONS = {
    "1/4": "1/4, crotchet",
    "1/8": "1/8, quaver",
    "1/12": "1/12, quaver triplet",
    "1/16": "1/16, semiquaver",
    "1/24": "1/24, semiquaver triplet",
    "1/32": "1/32, demisemiquaver",
    "1/48": "1/48, demisemiquaver triplet",
    "1/96": "1/96, 21 ms at 120 beats a minute",
}
MILESTONES = {"doubling": "0, 1, 2, 4, 8 and so on", "all": "every epoch", "none": "none"}
AVERAGING = (0.0, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9999)
WIDE = 200  # a linear slider over more whole numbers than this cannot be set to the one that is meant


def label(name: str) -> str:
    """What an option is called on a page."""
    return LABELS.get(name, name.replace("_", " ").capitalize())


def help_text(field: Field) -> str:
    """The option's help, and its flag on the command line."""
    flag = next(iter(field.metadata["flags"]), "--" + field.name.replace("_", "-"))
    text, choices = field.metadata["help"], " " + "|".join(field.metadata["choices"] or ())
    return f"{text[:1].upper()}{text[1:]}. On the command line: `{flag}{choices.rstrip()}`"


def stops(field: Field) -> tuple[Any, ...] | None:
    """The values a slider stops at, or None where every value of the range is one. The default is among them."""
    low, high, default = field.metadata["low"], field.metadata["high"], field.default
    if field.name == "division":
        return tuple(DIVISIONS) if default is not None else (None, *DIVISIONS)
    if field.name == "averaging":
        return AVERAGING
    if low is None:
        return None
    if default is None and low > 0:
        return (None, *_ladder(low, high))
    whole = isinstance(default, int)
    if field.metadata["log"] or (whole and high - low > WIDE and low > 0):
        return tuple(sorted({*_ladder(low, high), default}))
    return None


def _ladder(low: float, high: float) -> list[float]:
    """From `low` to `high`: doublings between powers of two, hundredths up to 1, twentieths in a narrow range, else
    1, 2, 3, 5, 10, ...
    """
    if isinstance(high, int) and high & (high - 1) == 0:
        return [step for i in range(high.bit_length()) if (step := 2**i) >= low]
    if low >= 0.001 and high <= 1:
        return [round(i / 100, 2) for i in range(1, 100) if low <= i / 100 <= high]
    if high / low <= 60:
        return [round(i / 20, 2) for i in range(round(20 * low), round(20 * high) + 1)]
    decades = [m * 10.0**e for e in range(-9, 6) for m in (1, 2, 3, 5)]
    kept = [float(f"{d:.1g}") for d in decades if low <= float(f"{d:.1g}") <= high]
    return [int(d) for d in kept] if isinstance(high, int) else kept


def control(field: Field, prefix: str, default: Any = dataclasses.MISSING, disabled: bool = False) -> Any:
    """Show the control of one option and return its value; `prefix` tells this form's controls from another's.

    It begins at `default`, else at the option's own default.
    """
    value = field.default if default is dataclasses.MISSING else default
    m, about = field.metadata, help_text(field)
    common = {
        "label": label(field.name),
        "help": about,
        "key": f"{prefix}.{field.name}",
        "persist_state": "session",
        "disabled": disabled,
    }
    if field.name == "milestones":
        known = list(dict.fromkeys((*MILESTONES, value)))  # others, such as 0,5,20, are typed
        return st.selectbox(
            options=known, index=known.index(value), accept_new_options=True, required=True,
            format_func=lambda which: MILESTONES.get(which, which), **common,
        )  # fmt: skip
    if field.name == "start_from":
        known = list(dict.fromkeys((None, value, *starts())))
        return st.selectbox(
            options=known, index=known.index(value), format_func=lambda name: name or "none: random weights", **common
        )
    if m["choices"]:
        words = m["words"].__getitem__
        return st.segmented_control(
            options=m["choices"], default=value, required=True, format_func=words, wrap=True, **common
        )
    if isinstance(field.default, bool):
        return st.toggle(value=value, **common)
    if field.name == "seed":
        return st.number_input(min_value=m["low"], max_value=m["high"], value=value, step=1, **common)
    steps = stops(field)
    if steps:
        steps = steps if value in steps else tuple(sorted({*steps, value}, key=_size))
        return st.select_slider(options=steps, value=value, format_func=_shown(field), **common)
    if m["low"] is None:
        return st.text_input(value=value or "", max_chars=200, **common).strip() or None
    step = _step(field)
    written = {"format": "%.0f"} if step == 1.0 else {}
    return st.slider(min_value=m["low"], max_value=_most(field), value=value, step=step, **written, **common)


def marked(field: Field, prefix: str, start: TrainOptions, disabled: bool = False) -> Any:
    """As `control`, begun where the recipe has it; what differs is marked and can be put back."""
    key, default = f"{prefix}.{field.name}", getattr(start, field.name)
    with st.container(key=f"option-{key}", gap="small"):
        value = control(field, prefix, default, disabled)
        if value != default and not disabled:
            st.button(
                f"{said(field, default)} in the recipe", icon=":material/undo:", type="tertiary", key=f"reset-{key}",
                help=f"Put {label(field.name)} back", on_click=_put_back, args=({key: default},),
            )  # fmt: skip
    return value


def remembered(field: Field, prefix: str, start: TrainOptions) -> Any:
    """The value of a control that is not shown now: as it was left, else the recipe's."""
    return st.session_state.get(f"{prefix}.{field.name}", getattr(start, field.name))


def put_all_back(prefix: str, start: TrainOptions, names: list[str]) -> None:
    """A button that puts every changed option back as the recipe has it."""
    values = {f"{prefix}.{name}": getattr(start, name) for name in names}
    st.button(
        "Put all back as in the recipe", icon=":material/restart_alt:", type="tertiary", key=f"reset-all-{prefix}",
        on_click=_put_back, args=(values,),
    )  # fmt: skip


def _put_back(values: dict[str, Any]) -> None:
    for key, value in values.items():
        st.session_state[key] = value


def starts() -> list[str]:
    """The models a training may begin with: the runs that have one, then the bundled ones."""
    from deepmusician.checkpoint import bundled
    from deepmusician.runs import list_runs

    return [*(run.name for run in list_runs() if run.model()), *(path.name for path in bundled())]


def _size(stop: Any) -> float:
    """Where a stop stands on its slider: automatic first; a length of a frame by how many make a whole note."""
    if stop is None:
        return -1.0
    return 1 / float(Fraction(stop)) if isinstance(stop, str) else float(stop)


def choose_recipe(key: str) -> Recipe:
    """A recipe by its title, whose it is, and what is done differently here."""
    recipes = {recipe.name: recipe for recipe in list_recipes()}
    field = next(f for f in dataclasses.fields(TrainOptions) if f.name == "recipe")
    name = st.selectbox(
        label("recipe"), list(recipes), format_func=lambda n: recipes[n].title, key=key, persist_state="session",
        help=help_text(field),
    )  # fmt: skip
    st.caption(f"After {recipes[name].reference}.")
    st.caption(recipes[name].changes)
    return recipes[name]


def changed(start: TrainOptions, values: dict[str, Any]) -> dict[str, str]:
    """Which options are not as the recipe has them, and how they are said; the machine's are no part of a recipe."""
    fields = [f for f in dataclasses.fields(start) if f.metadata["group"] != "machine" and f.name in values]
    differ = [f for f in fields if values[f.name] != getattr(start, f.name) and not idle(f.name, values)]
    return {f.name: f"{label(f.name)}: {said(f, values[f.name])}" for f in differ}


def said(field: Field, value: Any) -> str:
    """The value of an option as a page says it."""
    if value is None or isinstance(value, bool):
        return {None: "none" if field.name == "start_from" else "automatic", True: "on", False: "off"}[value]
    words = {"division": DIVISIONS, "milestones": MILESTONES}.get(field.name, field.metadata["words"])
    return words.get(value, str(value))


def in_words(clash: ClashError) -> str:
    """What is said of options that contradict each other, with the names that pages give them and their values."""
    fields = {f.name: f for f in dataclasses.fields(TrainOptions)}

    def value(name: str, stored: str) -> str:
        return f"“{said(fields[name], {'on': True, 'off': False}.get(stored, stored))}”"

    return clash.words(lambda name: f"“{label(name)}”", value)


def idle(name: str, values: dict[str, Any]) -> bool:
    """Whether an option says nothing about a model made of `values`."""
    if name == "decoder_n_layers":
        return values.get("arrangement") != "encoder-decoder"
    if name == "kernel_size":
        return values.get("backbone") != "tcn"
    if name == "guesses":
        return values.get("teacher_forcing_ratio") == 1
    return name in ("attention_heads", "memory") and values.get("backbone") != "transformer"


def _shown(field: Field):  # noqa: ANN202  how a stop is written under its slider
    words = DIVISIONS if field.name == "division" else {}
    return lambda v: "automatic" if v is None else words.get(v) or (v if isinstance(v, str) else f"{v:g}")


def _most(field: Field) -> float:
    """The range's end; no more threads than the machine has."""
    high = field.metadata["high"]
    return min(high, os.cpu_count() or 1) if field.name == "threads" else high


def _step(field: Field) -> float:
    span = field.metadata["high"] - field.metadata["low"]
    if isinstance(field.default, int):
        return 1
    return 0.01 if span <= 1 else 0.05 if span <= 10 else 1.0


def group(kind: type, name: str, skip: tuple[str, ...] = ()) -> list[Field]:
    """The options of one group of a table, in its order."""
    return [f for f in dataclasses.fields(kind) if f.metadata["group"] == name and f.name not in skip]
