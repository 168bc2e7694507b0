"""Recipes: every file says whose model it is and makes options that go together; a wrong file is refused in words."""

import dataclasses
import shlex

import pytest

from deepmusician import recipes
from deepmusician.cli import parser
from deepmusician.errors import OptionError
from deepmusician.models.registry import new_model
from deepmusician.options import TrainOptions, from_dict
from deepmusician.recipes import list_recipes, read_recipe, recipe_options, train_command
from deepmusician.roll import parse_division

NAMES = [recipe.name for recipe in list_recipes()]
WHOLE = """
title = "T"
original = "O"
changes = "C"
[reference]
authors = "A"
title = "P"
venue = "V"
year = 2020
[options]
backbone = "lstm"
"""


def typed(command):
    """The options that `deepmusician train` makes of a command line, without reading its music."""
    args = parser().parse_args(["train", *shlex.split(command)])
    given = {f.name: getattr(args, f.name) for f in dataclasses.fields(TrainOptions)}
    given = {name: value for name, value in given.items() if value is not None}
    return recipe_options(given.pop("recipe", "deep-musician"), **given)


def test_the_original_comes_first_then_the_studios_own_then_by_year():
    assert NAMES[:3] == ["deep-musician", "studio", "quick"]
    years = [recipe.reference.year for recipe in list_recipes()[3:]]
    assert years == sorted(years)


def test_the_models_of_the_field_are_there():
    assert set(NAMES) >= {
        "deep-musician", "rnn-nade", "polyphonic-lstm", "polyphonic-lstm-time", "bach-lstm", "lstm-melody",
        "attention-gru", "tcn", "deepj", "transformer", "studio", "quick", "expression",
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_says_whose_it_is_and_what_it_changes(name):
    recipe = read_recipe(name)
    assert recipe.title and recipe.original.endswith(".") and recipe.changes.endswith(".")
    reference = recipe.reference
    assert reference.authors and reference.title and reference.venue and 1990 < reference.year < 2030
    assert str(reference.year) in str(reference) and reference.title in str(reference)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_makes_options_and_says_how_each_frame_is_learnt(name):
    recipe = read_recipe(name)
    options = recipe_options(name)
    assert options.recipe == name
    assert {k: getattr(options, k) for k in recipe.options} == recipe.options
    assert {"arrangement", "backbone", "loss"} <= set(recipe.options)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_can_be_typed_and_is_repeated_by_what_is_typed(name):
    assert train_command(recipe_options(name)) == " ".join(
        ["-p bach-chorales", *([f"--recipe {name}"] if name != "deep-musician" else [])]
    )
    other = recipe_options(
        name, path="bach-chorales|my midi", n_epochs=7, clock=not recipe_options(name).clock, dropout=0.35
    )
    assert typed(train_command(other)) == other


@pytest.mark.parametrize("name", NAMES)
def test_every_default_can_be_had_back_from_a_recipe(name):
    """A value put back to the table's default is typed, too, for the recipe would set it otherwise."""
    shape = ("arrangement", "backbone", "attention", "head", "planes", "voices", "skip", "clock", "division")
    plain = recipe_options(name, **{k: getattr(TrainOptions(), k) for k in shape})
    assert typed(train_command(plain)) == plain


def test_no_two_recipes_make_the_same_model():
    made = [dataclasses.replace(recipe_options(name), recipe="") for name in NAMES]
    assert len(set(made)) == len(made)


def test_only_the_original_keeps_the_defaults():
    plain = [
        name for name in NAMES if dataclasses.replace(recipe_options(name), recipe="deep-musician") == TrainOptions()
    ]
    assert plain == ["deep-musician"]


def test_a_recipe_does_what_its_text_claims():
    o = {name: recipe_options(name) for name in NAMES}
    assert (o["rnn-nade"].backbone, o["rnn-nade"].head, o["rnn-nade"].transpose) == ("rnn", "chord", 0)
    assert o["bach-lstm"].transpose == 6 and o["bach-lstm"].num_layers == 2
    assert o["lstm-melody"].head == o["lstm-melody"].voices == "melody"
    assert o["attention-gru"].attention == "additive"
    assert (o["tcn"].num_layers, o["tcn"].hidden_size, o["tcn"].kernel_size, o["tcn"].dropout) == (4, 150, 5, 0.25)
    assert (o["deepj"].backbone, o["deepj"].head, o["deepj"].planes) == ("biaxial-lstm", "axis", "velocity")
    assert o["deepj"].clock and o["studio"].clock and o["studio"].averaging > 0
    assert (o["transformer"].head, o["transformer"].memory) == ("chord", 128)
    assert o["expression"].arrangement == "expression"
    quick = o["quick"]
    assert (quick.head, quick.backbone, quick.num_layers, quick.skip) == ("chord", "gru", 1, True)
    sizes = [sum(p.numel() for p in new_model(options).parameters()) for options in (o["deep-musician"], quick)]
    assert round(sizes[0] / sizes[1]) == 16


def test_the_time_based_lstm_hears_the_same_music_in_six_times_the_frames():
    note, time = recipe_options("polyphonic-lstm"), recipe_options("polyphonic-lstm-time")
    assert parse_division(note.division) == 6 * parse_division(time.division)
    assert time.seq_len == 6 * note.seq_len
    same = {"recipe": "", "division": "1/16", "seq_len": 64, "n_epochs": 1}
    assert dataclasses.replace(note, **same) == dataclasses.replace(time, **same)


def test_no_recipe_sets_what_a_flag_could_not_unset():
    """An option without a default has no word for its absence."""
    automatic = {f.name for f in dataclasses.fields(TrainOptions) if f.default is None}
    assert {name: set(read_recipe(name).options) & automatic for name in NAMES} == {name: set() for name in NAMES}


def test_overrides_win_and_are_checked():
    assert recipe_options("tcn", kernel_size=2).kernel_size == 2
    with pytest.raises(OptionError, match="set voices to melody"):
        recipe_options("lstm-melody", voices="all")
    with pytest.raises(OptionError, match="unknown option 'colour'"):
        recipe_options("tcn", colour=1)


def test_an_unknown_recipe_is_refused_with_the_names_there_are():
    with pytest.raises(OptionError, match="no recipe called 'wavenet'; there are deep-musician, studio, "):
        read_recipe("wavenet")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(recipes, "FOLDER", tmp_path)
    return tmp_path


def test_a_new_file_is_a_new_recipe(folder):
    (folder / "mine.toml").write_text(WHOLE)
    assert [recipe.name for recipe in list_recipes()] == ["mine"]
    assert recipe_options("mine") == from_dict(TrainOptions, {"recipe": "mine", "backbone": "lstm"})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('title = "T"', "", "a recipe has .*; title is missing"),
        ('title = "T"', 'title = "T"\ncolour = "red"', "leave out colour"),
        ("[reference]", "[paper]", "reference has .* authors is missing"),
        ("year = 2020", "", "a reference has .*; year is missing"),
        ("year = 2020", "year = 2020\nmonth = 5", "leave out month"),
        ('backbone = "lstm"', 'backbones = "lstm"', "unknown option 'backbones'"),
        ('backbone = "lstm"', 'backbone = "drum"', "backbone must be one of"),
        ('backbone = "lstm"', 'head = "axis"', "set it to biaxial"),
        ('backbone = "lstm"', 'path = "bach"', "a recipe cannot set path; leave it out"),
        ('backbone = "lstm"', 'recipe = "tcn"', "a recipe cannot set recipe"),
        ('backbone = "lstm"', "backbone = ", "recipe mine.toml: "),
    ],
)
def test_a_wrong_file_is_refused_by_its_name_and_what_is_wrong(folder, old, new, message):
    assert old in WHOLE
    (folder / "mine.toml").write_text(WHOLE.replace(old, new, 1))
    with pytest.raises(OptionError, match=message) as refused:
        list_recipes()
    assert "recipe mine.toml: " in str(refused.value)
