"""Options: one table for flags, sliders and TOML; an impossible value is refused in one sentence."""

import dataclasses
import shlex
import tomllib

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from deepmusician.cli import parser
from deepmusician.errors import OptionError
from deepmusician.options import (
    ARRANGEMENTS,
    BACKBONES,
    HEADS,
    GenerateOptions,
    TrainOptions,
    command_line,
    from_dict,
    to_dict,
)

KINDS = [TrainOptions, GenerateOptions]


@pytest.mark.parametrize("kind", KINDS)
def test_every_option_has_a_help_text_and_a_default_inside_its_range(kind):
    for f in dataclasses.fields(kind):
        assert f.metadata["help"], f.name
        low, high = f.metadata["low"], f.metadata["high"]
        if f.default is not None and low is not None:
            assert low <= f.default <= high, f.name


@pytest.mark.parametrize("kind", KINDS)
def test_no_flag_is_used_twice(kind):
    flags = [flag for f in dataclasses.fields(kind) for flag in f.metadata["flags"]]
    assert len(flags) == len(set(flags))


@pytest.mark.parametrize("kind", KINDS)
def test_both_ends_of_every_range_are_allowed_and_beyond_is_refused(kind):
    for f in dataclasses.fields(kind):
        low, high = f.metadata["low"], f.metadata["high"]
        if low is None:
            continue
        for value in (low, high):
            kind(**{f.name: value})
        for value in (low - 1, high + 1):
            with pytest.raises(OptionError, match=f"{f.name} must be from"):
                kind(**{f.name: value})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"loss": "mse"}, r"loss must be one of bce, focal, focal\+, got 'mse'"),
        ({"division": "1/0"}, "division"),
        ({"division": "two"}, "division"),
        ({"path": ""}, "path is empty"),
        ({"alpha": float("nan")}, "alpha must be from"),
        ({"n_epochs": True}, "n_epochs must be a number"),
        ({"gamma": "2"}, "gamma must be a number"),
    ],
)
def test_impossible_values_are_refused_in_words(values, message):
    with pytest.raises(OptionError, match=message):
        TrainOptions(**values)


def test_the_choices_are_the_parts_there_are():
    from deepmusician.models import backbones, heads, registry

    assert set(BACKBONES) == set(backbones.BACKBONES)
    assert set(HEADS) == set(heads.HEADS)
    assert set(ARRANGEMENTS) == set(registry.ARRANGEMENTS)


def test_an_unknown_name_is_refused():
    with pytest.raises(OptionError, match="unknown option 'colour'"):
        from_dict(TrainOptions, {"colour": 1})


@given(
    st.builds(
        TrainOptions, path=st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1),
        gamma=st.floats(0, 5), threshold=st.none() | st.floats(0.001, 0.999), remove_zeros=st.booleans(),
        clock=st.booleans(), skip=st.booleans(), backbone=st.sampled_from(("rnn", "lstm", "gru")),
        averaging=st.floats(0, 0.9999),
        teacher_forcing_ratio=st.floats(0, 1), stride=st.none() | st.integers(1, 4096), seed=st.integers(0, 2**31 - 1),
    )
)  # fmt: skip
def test_options_survive_toml_and_the_command_line(options):
    assert from_dict(TrainOptions, tomllib.loads(tomli_w.dumps(to_dict(options)))) == options
    words = shlex.split(command_line(options))
    if not options.path.startswith("-"):
        args = parser().parse_args(["train", *words])
        given = {f.name: getattr(args, f.name) for f in dataclasses.fields(options)}
        assert from_dict(TrainOptions, {k: v for k, v in given.items() if v is not None}) == options


def test_several_sources_are_typed_one_after_the_other():
    assert command_line(TrainOptions(path="bach-chorales|my midi|c.zip")) == "-p bach-chorales 'my midi' c.zip"


def test_flags_are_those_that_differ_from_where_one_starts():
    start = TrainOptions(backbone="lstm", clock=True, hidden_size=64)
    assert command_line(TrainOptions(hidden_size=64), start) == "-p bach-chorales --backbone gru --no-clock"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"head": "melody", "skip": True}, "one key a frame, got voices all; set voices to melody"),
        ({"head": "melody", "voices": "melody"}, "holds the last frame's key, got skip off; turn skip on"),
        ({"head": "axis"}, "head axis reads a context of each key, got backbone gru; set it to biaxial"),
        ({"head": "intervals", "backbone": "lstm"}, "head intervals reads .*, got backbone lstm; set it to biaxial"),
        ({"planes": "onset"}, "planes onset needs to know what sounded before, got skip off; turn skip on"),
        ({"planes": "velocity"}, "planes velocity needs .* turn skip on"),
        ({"arrangement": "expression"}, "gives velocities, got planes sounding; set planes to velocity"),
        ({"attention": "dot", "arrangement": "decoder"}, "attention dot looks at an encoder, got arrangement decoder"),
        (
            {"backbone": "transformer", "hidden_size": 44},
            "hidden_size of a transformer must be a multiple of twice attention_heads, got 44 and 4; change either",
        ),
    ],
    ids=lambda v: ",".join(v) if isinstance(v, dict) else "",
)
def test_parts_that_do_not_go_together_are_refused_with_the_remedy(values, message):
    with pytest.raises(OptionError, match=message):
        TrainOptions(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"head": "melody", "voices": "melody", "skip": True},
        {"head": "axis", "backbone": "biaxial"},
        {"head": "axis", "backbone": "biaxial-lstm"},
        {"planes": "velocity", "skip": True, "arrangement": "expression"},
        {"attention": "dot"},
        {"backbone": "transformer", "hidden_size": 48},
        {"backbone": "lstm", "hidden_size": 50},
    ],
    ids=lambda v: ",".join(v),
)
def test_parts_that_go_together_are_taken(values):
    assert {name: getattr(TrainOptions(**values), name) for name in values} == values
