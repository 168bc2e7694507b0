"""Recipes: the kinds of model the field has, each a TOML file beside this one, named as its file.

A recipe tells whose model it is, what theirs did, what is done differently here and why, and sets the options that make
it. Options it does not name keep their defaults. A new file is a new recipe; nothing else names it.
"""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepmusician.errors import OptionError
from deepmusician.options import TrainOptions, command_line, from_dict

FOLDER = Path(__file__).parent
FIRST = ("deep-musician", "studio", "quick")  # offered before the others, which stand by year
NOT_ITS_OWN = ("path", "recipe", "start_from")  # what is learnt from, and begun with, is not a recipe's to say


@dataclass(frozen=True)
class Reference:
    """The publication a recipe follows."""

    authors: str
    title: str
    venue: str
    year: int

    def __str__(self) -> str:
        return f"{self.authors}: {self.title}, {self.venue} {self.year}"


@dataclass(frozen=True)
class Recipe:
    """`original` is what the reference's system did, `changes` what differs here and why; `options` of TrainOptions."""

    name: str
    title: str
    reference: Reference
    original: str
    changes: str
    options: dict[str, Any]


def list_recipes() -> list[Recipe]:
    """All there are: the original, the studio's own two, then by year."""
    return sorted((_read(path) for path in FOLDER.glob("*.toml")), key=_place)


def _place(recipe: Recipe) -> tuple[int, int, str]:
    first = FIRST.index(recipe.name) if recipe.name in FIRST else len(FIRST)
    return first, recipe.reference.year, recipe.name


def read_recipe(name: str) -> Recipe:
    """The recipe called `name`. Raises OptionError, naming those there are."""
    recipes = {recipe.name: recipe for recipe in list_recipes()}
    if name not in recipes:
        raise OptionError(f"there is no recipe called {name!r}; there are {', '.join(recipes)}")
    return recipes[name]


def recipe_options(name: str, **overrides: Any) -> TrainOptions:
    """The options of a recipe, some of them replaced. Raises OptionError where they cannot go together."""
    return from_dict(TrainOptions, {**read_recipe(name).options, **overrides, "recipe": name})


def train_command(options: TrainOptions) -> str:
    """What is typed after `deepmusician train` to train this again: the recipe and what differs from it."""
    recipe = read_recipe(options.recipe)
    return command_line(options, dataclasses.replace(recipe_options(recipe.name), recipe=TrainOptions.recipe))


def _read(path: Path) -> Recipe:
    """One file. Raises OptionError, naming it and what is wrong in it."""
    try:
        values = tomllib.loads(path.read_text("utf-8"))
        reference = Reference(**_exactly(values.pop("reference", {}), Reference, "reference"))
        recipe = Recipe(**_exactly({"name": path.stem, "reference": reference, **values}, Recipe, "recipe"))
        for name in NOT_ITS_OWN:
            if name in recipe.options:
                raise OptionError(f"a recipe cannot set {name}; leave it out")
        from_dict(TrainOptions, recipe.options)
    except (tomllib.TOMLDecodeError, OptionError) as error:
        raise OptionError(f"recipe {path.name}: {error}") from error
    return recipe


def _exactly(values: dict[str, Any], kind: type, what: str) -> dict[str, Any]:
    """`values`, where they are the fields of `kind`: none missing, none unknown."""
    fields = [f.name for f in dataclasses.fields(kind)]
    missing, unknown = [n for n in fields if n not in values], sorted(set(values) - set(fields))
    if missing or unknown:
        wrong = f"{missing[0]} is missing" if missing else f"leave out {unknown[0]}"
        raise OptionError(f"a {what} has {', '.join(fields)}; {wrong}")
    return values
