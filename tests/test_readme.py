"""The README keeps its promises: each command of its tour runs, each file it names is there.

The tour is every line beginning with `deepmusician` in the ```sh blocks under "## The command line". Its lines are
run in order, in one empty folder that holds nothing but `my-midi/`, with a workspace of their own. A flag given twice
counts the last time, so a training is made small by flags added at its end; all else runs as it is written.
"""

import dataclasses
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import scale_song

from deepmusician import cli
from deepmusician.checkpoint import bundled, read_card
from deepmusician.corpora import CORPORA
from deepmusician.midi import read_midi, write_midi
from deepmusician.options import TrainOptions

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
TINY = shlex.split(
    "-p my-midi -e 1 -b 8 -s 8 -l 1 -d 1 --hidden-size 24 --classifier-size 24 --threads 1 --precision fp32"
)


def section(title):
    """The README's text from the heading `title` to the next heading of its level."""
    found = re.search(rf"^{re.escape(title)}\n(.*?)(?=^##? |\Z)", README, re.M | re.S)
    assert found, f"the README has no heading {title!r}"
    return found.group(1)


def shell_lines(text):
    """The lines of all ```sh blocks in a text; a line that ends in a backslash goes on with the next."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]


TOUR = [line for line in shell_lines(section("## The command line")) if line.startswith("deepmusician ")]


def made_small(words):
    """A command of the tour as it is run here."""
    if "--minutes" in words:  # the budget chooses the epochs
        return [*words, *TINY[:2], *TINY[4:], "--minutes", "0.1"]
    if words[0] not in ("train", "estimate", "lab"):
        return words
    if "--resume" in words:  # a resumed run keeps its options, but for the number of epochs
        return [*words, "-e", "2"]
    return [*words, *TINY]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the tour is walked: an empty folder but for my-midi."""
    folder = tmp_path_factory.mktemp("tour")
    (folder / "my-midi").mkdir()
    for i, start in enumerate((48, 50, 52, 53, 55, 57)):
        write_midi(scale_song(start), folder / "my-midi" / f"tune-{i}.mid")
    return folder


@pytest.mark.parametrize("line", TOUR)
def test_a_command_of_the_tour_does_what_it_says(line, folder):
    words = made_small(shlex.split(line, comments=True)[1:])
    environment = {**os.environ, "DEEPMUSICIAN_HOME": str(folder / "workspace"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "deepmusician", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert_made(words, folder, done.stdout)


def assert_made(words, folder, said):
    """Whatever file a command names as its result is there and can be used; what it prints is not nothing."""
    assert said.strip()
    if "--json" in words:
        json.loads(said)
    for flag in ("-s", "--save", "-o", "--output"):
        if flag in words and words[0] not in ("train", "estimate", "lab"):
            home = folder / "workspace" / "library" if words[0] == "ingest" else folder
            place = home / words[words.index(flag) + 1]
            several = int(words[words.index("--variations") + 1]) if "--variations" in words else 0
            numbered = [place.with_stem(f"{place.stem}-{i}") for i in range(1, several + 1)]
            for made in numbered or [place]:
                assert made.stat().st_size > 0
                assert made.suffix != ".mid" or len(read_midi(made))


def test_the_tour_visits_every_verb():
    commands = cli.parser()._subparsers._group_actions[0].choices
    assert {shlex.split(line)[1] for line in TOUR} >= set(commands)


def test_each_corpus_in_the_tour_is_built_in():
    sources = re.findall(r" -p (\S+)", "\n".join(TOUR))
    assert sources
    assert {s for s in sources if "my-midi" not in s} <= set(CORPORA)


def test_every_make_command_is_a_target():
    commands = {line.split("#")[0].strip() for line in shell_lines(README) if line.startswith("make ")}
    assert {"make app", "make test"} <= commands
    for command in commands:
        targets = [word for word in shlex.split(command)[1:] if "=" not in word]
        dry = subprocess.run([shutil.which("make"), "-n", *targets], cwd=ROOT, capture_output=True, text=True)
        assert dry.returncode == 0, dry.stderr


def test_ci_runs_the_readmes_test_command():
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == "make test"


def test_every_link_and_picture_leads_somewhere():
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", README)
    assert any(link.endswith(".png") for link in links)
    assert [link for link in links if ":" not in link and not (ROOT / link).exists()] == []


def test_the_table_of_options_is_the_programs_own():
    rows = [
        [cell.strip(" `") for cell in line.strip("|").split(" | ")]
        for line in section("## The command line").splitlines()
        if line.startswith("|") and "--" in line and "|---|" not in line
    ]
    options = dataclasses.fields(TrainOptions)
    assert [row[:3] for row in rows] == [
        [
            " ".join(option.metadata["flags"]),
            f"--{option.name.replace('_', '-')}",
            "" if option.default is None else str(option.default),
        ]
        for option in options
    ]
    for row, option in zip(rows, options, strict=True):
        assert row[3].startswith(option.metadata["help"])


def test_the_file_tree_names_what_is_there():
    tree = re.search(r"^```\n(.*?)^```", section("## What is where"), re.M | re.S).group(1)
    folder = ROOT
    for line in tree.splitlines():
        name = line.split()[0]
        if not line.startswith(" "):
            folder = ROOT / name
            assert folder.exists(), name
        else:
            assert list(folder.glob(name.rstrip("/"))), f"{folder.name}/{name}"


def test_the_readme_tells_of_each_bundled_model_what_its_card_says():
    for folder in bundled():
        card = read_card(folder)
        model, copying = card["scores"]["model"], card["scores"]["baselines"]["repeat_last"]
        assert card["command"] in README
        assert f"| `{folder.name}` | {model['nll']:.2f} / {copying['nll']:.2f} | {model['f1']:.2f}" in README
