"""The command line: what it makes, and one clear line with exit code 2 for what cannot be done."""

import contextlib
import io
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import scale_song

from deepmusician.cli import main
from deepmusician.formats import read_song
from deepmusician.midi import write_midi
from deepmusician.render import sound_problem

SMALL = ["--hidden-size", "24", "--classifier-size", "24", "-l", "1", "-d", "1", "-s", "8", "-b", "8"]

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture(scope="session")
def trained_home(tmp_path_factory):
    """A workspace with a run called `tunes`, trained for two epochs by the command line, and what that printed."""
    place, said = tmp_path_factory.mktemp("by-command"), io.StringIO()
    songs = place / "my-midi"
    songs.mkdir()
    for i, start in enumerate((48, 50, 52, 53, 55, 57)):
        write_midi(scale_song(start), songs / f"tune-{i}.mid")
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        patch.setenv("DEEPMUSICIAN_HOME", str(place / "home"))
        assert main(["train", "-p", str(songs), "-e", "2", "--run", "tunes", *SMALL]) == 0
    return place / "home", said.getvalue()


@pytest.fixture
def trained(home, trained_home):
    """A copy of it in this test's workspace; what training it printed."""
    folder, said = trained_home
    shutil.copytree(folder, home, symlinks=True, dirs_exist_ok=True)
    return said


def one_line(capsys, *argv) -> str:
    """Run a command that must fail; its whole output is one line on standard error and its exit code 2."""
    assert main([str(a) for a in argv]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert "Traceback" not in line
    return line


def test_training_prints_each_epoch_and_how_to_compose(trained):
    lines = trained.splitlines()
    assert lines[0].startswith("epoch   1  loss") and "held out" in lines[0] and "frames/s" in lines[0]
    assert lines[-1] == "compose with: deepmusician generate -c tunes"


def test_a_run_composes_midi_the_same_from_the_same_seed(trained, tmp_path, capsys):
    for name in ("a.mid", "b.mid"):
        assert main(["generate", "-c", "tunes", "-l", "64", "--seed", "3", "-s", str(tmp_path / name)]) == 0
    assert (tmp_path / "a.mid").read_bytes() == (tmp_path / "b.mid").read_bytes()
    assert "a.mid:" in capsys.readouterr().out


def test_a_prime_guides(trained, tmp_path, midi_folder):
    save = tmp_path / "c.mid"
    assert main(["generate", "-c", "tunes", "--prime", str(midi_folder / "tune-0.mid"), "-s", str(save)]) == 0
    assert len(read_song(save)) > 0


def test_resuming_trains_further(trained, capsys):
    assert main(["train", "--run", "tunes", "--resume", "-e", "3"]) == 0
    assert "epoch   3" in capsys.readouterr().out


def test_evaluate_prints_a_table_and_json(trained, midi_folder, capsys):
    assert main(["evaluate", "-c", "tunes"]) == 0
    table = capsys.readouterr().out
    assert "repeat last" in table and "nats/frame" in table and "Human ears: no blind test of it yet" in table
    assert main(["evaluate", "-c", "tunes", "-p", str(midi_folder), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["songs"] == 6 and report["model"]["nll"] > 0 and report["listening"] == []


@pytest.mark.skipif(sound_problem() is not None, reason="FluidSynth is not installed here")
def test_render_writes_sound(midi_folder, tmp_path):
    import soundfile

    output = tmp_path / "tune.ogg"
    assert main(["render", str(midi_folder / "tune-0.mid"), "-o", str(output)]) == 0
    samples, rate = soundfile.read(output)
    assert np.abs(samples).max() > 0.1 and len(samples) / rate > 10


def test_corpora_are_listed_with_counts(capsys):
    assert main(["corpora"]) == 0
    assert "bach-chorales" in capsys.readouterr().out


def test_recipes_are_listed_with_whose_they_are(capsys):
    assert main(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[0] == "deep-musician"
    place = next(i for i, line in enumerate(lines) if line.startswith("tcn "))
    assert "Bai" in lines[place + 1] and "2018" in lines[place + 1]


def test_a_recipe_sets_the_options_and_flags_override_it(midi_folder):
    from deepmusician.runs import open_run

    words = ["--recipe", "bach-lstm", "-e", "1", "--run", "bach", "--transpose", "2", *SMALL]
    assert main(["train", "-p", str(midi_folder), *words]) == 0
    options = open_run("bach").options()
    assert (options.recipe, options.backbone, options.arrangement) == ("bach-lstm", "lstm", "decoder")
    assert (options.transpose, options.hidden_size) == (2, 24)


def test_several_sources_are_so_many_styles(midi_folder, tmp_path):
    import shutil

    from deepmusician.runs import open_run

    other = shutil.copytree(midi_folder, tmp_path / "other")
    assert main(["train", "-p", str(midi_folder), str(other), "-e", "1", "--run", "two", *SMALL]) == 0
    assert open_run("two").options().path == f"{midi_folder}|{other}"
    save = str(tmp_path / "two.mid")
    assert main(["generate", "-c", "two", "-l", "16", "-s", save, "--style", "other"]) == 0
    assert main(["generate", "-c", "two", "-l", "16", "-s", save, "--style", "nobody"]) == 2


def test_runs_are_listed(trained, capsys):
    assert main(["runs"]) == 0
    assert "tunes" in capsys.readouterr().out and main(["runs", "--stop", "tunes"]) == 0


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["train"], "train needs -p"),
        (["train", "-p", "no-such-folder"], "no-such-folder"),
        (["train", "-p", "bach-chorale"], "bach-chorales"),
        (["train", "-p", "bach-chorales", "-a", "1e-6"], "alpha must be from 0.05 to 0.99, got 1e-06"),
        (["train", "-p", "bach-chorales", "-e", "0"], "n_epochs must be from 1"),
        (["train", "-p", "bach-chorales", "-tf", "1.5"], "teacher_forcing_ratio must be from 0 to 1"),
        (["train", "-p", "bach-chorales", "-div", "1/0"], "division"),
        (["train", "-p", "bach-chorales", "--recipe", "wavenet"], "no recipe called 'wavenet'; there are deep-mus"),
        (["train", "-p", "bach-chorales", "--recipe", "lstm-melody", "--voices", "all"], "set voices to melody"),
        (["train", "-p", "bach-chorales", "--recipe", "deepj", "--no-skip"], "got skip off; turn skip on"),
        (["train", "--resume"], "--resume needs --run"),
        (["train", "--resume", "--run", "nowhere"], "there is no run called 'nowhere'"),
        (["generate", "-c", "nowhere"], "no checkpoint or run called nowhere"),
        (["generate", "-c", "nowhere", "-s", "x.pdf"], "saved as .mid, .wav, .mp3 or .ogg"),
        (["generate", "-c", "nowhere", "-s", "no/such/x.mid"], "the folder no/such does not exist"),
        (["generate", "-c", "nowhere", "-i", "zero", "--prime", "x.mid"], "leave -i out"),
        (["evaluate", "-c", "nowhere"], "no checkpoint or run"),
        (["render", "no.mid", "-o", "x.flac"], "saved as .wav, .mp3 or .ogg"),
        (["render", "no.mid", "-o", "x.wav"], "no.mid"),
        (["runs", "--stop", "nowhere"], "there is no run"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(capsys, argv, message):
    assert message in one_line(capsys, *argv)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["train", "-e", "many"], "argument -e/--n-epochs: invalid int value: 'many'; see deepmusician train --help"),
        (["train", "-c", "mse"], "invalid choice: 'mse'"),
        (["sing"], "invalid choice: 'sing'"),
        ([], "the following arguments are required: COMMAND"),
    ],
)
def test_a_misspelt_command_is_one_line_and_exit_code_2(capsys, argv, message):
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_an_empty_folder_and_a_broken_file_are_one_line(capsys, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "empty" in one_line(capsys, "train", "-p", tmp_path / "empty")
    (tmp_path / "broken.mid").write_bytes(b"<html>not found</html>")
    assert "broken.mid" in one_line(capsys, "train", "-p", tmp_path / "broken.mid")


def test_a_refused_training_leaves_no_run_behind(capsys):
    from deepmusician.runs import list_runs

    one_line(capsys, "train", "-p", "no-such-folder", "--run", "ghost")
    assert list_runs() == []


def test_a_name_in_use_and_changed_options_are_one_line(trained, capsys, midi_folder):
    assert "a run called 'tunes' exists" in one_line(capsys, "train", "-p", midi_folder, "--run", "tunes", *SMALL)
    assert "--gamma cannot change" in one_line(capsys, "train", "--run", "tunes", "--resume", "-g", "3")


def test_help_needs_none_of_the_heavy_packages():
    code = (
        "import sys; from deepmusician.cli import parser; parser().format_help();"
        "print(sorted({'torch','music21','matplotlib','streamlit','pretty_midi','symusic','scipy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_flags_keep_the_originals_names(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["train", "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    flags = "-p -e -b -s -l -c -g -a -lr -t -tf -d -rz -div -ac --run --resume --seed"
    for flag in flags.split():
        assert f" {flag}" in text or f"{flag} " in text


def test_variations_are_numbered_and_each_is_what_its_seed_gives(trained, tmp_path):
    words = ["generate", "-c", "tunes", "-l", "32"]
    assert main([*words, "--variations", "2", "--seed", "5", "-s", str(tmp_path / "v.mid")]) == 0
    assert main([*words, "--seed", "6", "-s", str(tmp_path / "six.mid")]) == 0
    assert (tmp_path / "v-2.mid").read_bytes() == (tmp_path / "six.mid").read_bytes()
    assert (tmp_path / "v-1.mid").read_bytes() != (tmp_path / "v-2.mid").read_bytes()


def test_a_piece_is_continued_and_some_of_its_bars_rewritten(trained, tmp_path, midi_folder):
    tune, longer, other = midi_folder / "tune-0.mid", tmp_path / "longer.mid", tmp_path / "other.mid"
    assert main(["generate", "-c", "tunes", "--continue", str(tune), "-l", "32", "-s", str(longer)]) == 0
    old, new = read_song(tune).notes, read_song(longer).notes
    assert new[: len(old)].tolist() == old.tolist() and len(new) > len(old)
    words = ["rewrite", str(tune), "-c", "tunes", "--bars", "3-4", "--candidates", "2", "-s", str(other)]
    assert main([*words, "--scale", "C major"]) == 0
    new = read_song(other).notes
    outside = [notes[(notes["onset"] < 8) | (notes["onset"] >= 16)].tolist() for notes in (old, new)]
    assert outside[0] == outside[1]
    inside = new[(new["onset"] >= 8) & (new["onset"] < 16)]
    assert set(inside["pitch"] % 12) <= {0, 2, 4, 5, 7, 9, 11}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["generate", "-c", "x", "--prime", "a.mid", "--continue", "b.mid"], "give one of them"),
        (["generate", "-c", "x", "--continue", "a.mid", "-i", "zero"], "but -i is zero"),
        (["generate", "-c", "x", "--scale", "H major"], "begins with its tonic"),
        (["generate", "-c", "x", "--keep"], "keep keeps the piece"),
        (["rewrite", "a.mid", "-c", "x", "--bars", "five"], "FIRST-LAST, got 'five'"),
    ],
)
def test_what_cannot_be_composed_or_rewritten_is_one_line(words, message, capsys):
    assert message in one_line(capsys, *words)
