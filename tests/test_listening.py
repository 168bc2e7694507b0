"""Blind tests: clips that only the music tells apart, votes counted as they should, and what is said of them."""

import csv
import io
import json
import wave
from dataclasses import replace

import numpy as np
import pytest
from conftest import scale_song

from deepmusician import cli, listening, listening_clips, listening_words
from deepmusician import listening_results as counting
from deepmusician import listening_store as store
from deepmusician.checkpoint import fingerprint, read_card
from deepmusician.errors import ListeningError, OptionError
from deepmusician.library import DataSet, save_data_set
from deepmusician.listening import CATCH, FIRST, HUMAN, MACHINE, PAIR, PREFERENCE, SECOND, ListeningOptions
from deepmusician.listening_clips import Excerpt, Grid, Passed
from deepmusician.listening_stats import Share
from deepmusician.listening_store import Listener, ListeningTest, Trial, Vote
from deepmusician.listening_verbs import votes_on
from deepmusician.render import sound_problem
from deepmusician.roll import KEYS, from_roll, roll_from_frames, to_roll
from deepmusician.store import Entry

with_sound = pytest.mark.skipif(sound_problem() is not None, reason=f"no sound: {sound_problem()}")
SMALL = {"clips": 4, "seconds": 3, "catches": 1}


@pytest.fixture
def engine(home):
    engine = store.open_store()
    yield engine
    engine.dispose()


# ---- options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clips": 2}, "clips must be 4 to 60, got 2"),
        ({"clips": 5}, "clips must be an even number, half of each kind, got 5"),
        ({"seconds": 90}, "seconds must be 3 to 30, got 90"),
        ({"bound": 0.5}, "bound must be 0.02 to 0.3, got 0.5"),
        ({"program": 128}, "program must be"),
        ({"tempo_bpm": 5}, "tempo_bpm must be 20 to 400, got 5"),
    ],
)
def test_a_test_outside_the_ranges_is_refused(options, message):
    with pytest.raises(OptionError, match=message):
        ListeningOptions("m", **options)


def test_the_usual_test_takes_three_minutes():
    assert ListeningOptions("m").minutes == pytest.approx((14 * 10 + 14 * 2.5) / 60)  # 2.9
    assert ListeningOptions("m", against="n").minutes == pytest.approx((16 * 10 + 8 * 2.5) / 60)  # 3.0


# ---- clips


def test_two_grids_meet_at_what_both_can_say():
    fine, coarse = Grid("1/16", "velocity"), Grid("1/8", "sounding")
    assert fine.coarsest(coarse) == coarse.coarsest(fine) == Grid("1/8", "sounding")
    assert (coarse.bar, coarse.frames(10, 96)) == (8, 32)  # 16 beats of two frames


def test_excerpts_of_human_music_do_not_overlap_and_take_every_song_before_any_twice(home):
    names, rolls = two_songs()
    passed = Passed()
    found = listening_clips.human_excerpts(names, rolls, Grid("1/16"), 40, 4, np.random.default_rng(0), passed)
    assert sorted(e.source.split(",")[0] for e in found) == ["one", "one", "two", "two"]
    assert {e.source.split(",")[0] for e in found[:2]} == {"one", "two"}
    assert all(e.frames.shape == (40, KEYS) for e in found)
    first, second = (int(e.source.rsplit(" ", 1)[1]) for e in found if e.source.startswith("one"))
    assert abs(first - second) >= 10  # beats of four frames
    assert passed.count == 0


def two_songs():
    from deepmusician.rolls import make_rolls

    return ("one", "two"), make_rolls([scale_song(48), scale_song(52)], "1/16")


def test_too_little_human_music_says_how_much_there_is():
    names, rolls = two_songs()
    with pytest.raises(
        ListeningError, match="gives 2 excerpts of that length, and 8 are needed; take shorter or fewer"
    ):
        listening_clips.human_excerpts(names, rolls, Grid("1/16"), 128, 8, np.random.default_rng(0), Passed())


def test_excerpts_in_which_little_sounds_are_passed_over_and_counted():
    from deepmusician.rolls import make_rolls

    quiet = replace(scale_song(48), notes=scale_song(48).notes[-4:])  # two beats at the end of thirty-two
    passed = Passed()
    with pytest.raises(ListeningError, match="gives 0 excerpts"):
        rolls = make_rolls([quiet], "1/16")
        listening_clips.human_excerpts(("quiet",), rolls, Grid("1/16"), 32, 1, np.random.default_rng(0), passed)
    assert passed.count >= 3


def test_human_music_is_held_out_from_the_model_unless_it_is_other_music(small_run):
    card = read_card("small")
    names, rolls = listening_clips.human_music(card, None)
    assert set(names) == set(card["data"]["held_out"])
    assert len(rolls) == len(names)
    trained_on = card["options"]["path"]
    assert listening_clips.human_music(card, trained_on)[0] == names
    save_data_set(DataSet("others", (Entry.of("a", scale_song(60)), Entry.of("b", scale_song(61)))), "others")
    assert listening_clips.human_music(card, "others")[0] == ("a", "b")
    with pytest.raises(ListeningError, match="the model learnt from every song of this music"):
        listening_clips.human_music({**card, "data": {**card["data"], "held_out": []}}, None)


def test_shuffled_notes_are_another_thing_in_every_frame():
    frames = np.zeros((16, 3 * KEYS), np.uint8)
    frames[:, [30, 34, 37]] = 1
    noise = listening_clips.shuffled(Excerpt(frames, "x"), np.random.default_rng(1)).frames
    assert (noise[:, :KEYS].sum(1) == 3).all()
    assert (noise[:, KEYS : 2 * KEYS] == noise[:, :KEYS]).all()  # every note is struck anew
    assert set(np.unique(noise[:, 2 * KEYS :])) == {0, 80}
    assert len({frame.tobytes() for frame in noise}) == 16


def test_loudness_is_the_standards():
    # BS.1770-4: a 0 dBFS sine of 997 Hz on one front channel reads -3.01 LKFS
    t = np.arange(2 * 48_000) / 48_000
    sine = np.sin(2 * np.pi * 997 * t)
    assert listening_clips.loudness(np.stack([sine, 0 * sine], 1)) == pytest.approx(-3.01, abs=0.02)
    assert listening_clips.loudness(np.stack([sine, sine], 1) / 10) == pytest.approx(-20.0, abs=0.02)
    assert listening_clips.loudness(np.zeros((48_000, 2))) == float("-inf")


def test_silence_around_a_sound_does_not_make_it_quieter():
    t = np.arange(48_000) / 48_000
    sine = 0.1 * np.stack([np.sin(2 * np.pi * 997 * t)] * 2, 1)
    padded = np.concatenate([np.zeros((96_000, 2)), sine, np.zeros((96_000, 2))])
    assert listening_clips.loudness(padded) == pytest.approx(
        listening_clips.loudness(sine), abs=1.5
    )  # ungated it would be 7 less


def test_all_clips_are_equally_loud_and_none_clips():
    t = np.arange(48_000) / 48_000
    soft = 0.01 * np.stack([np.sin(2 * np.pi * 440 * t)] * 2, 1)
    jagged = soft.copy()
    jagged[::6000] = 1.0
    levelled = list(listening_clips.equally_loud([soft, jagged]))
    levels = [listening_clips.loudness(samples) for samples in levelled]
    assert levels[0] == pytest.approx(levels[1], abs=0.01)
    assert max(np.abs(samples).max() for samples in levelled) <= listening_clips.PEAK + 1e-6


# ---- a whole test


@pytest.fixture
def made(engine, small_run):
    steps = []
    options = ListeningOptions("small", title="<b>which</b>", **SMALL)
    test = listening.new_test(engine, options, lambda done, total: steps.append((done, total)))
    assert steps[-1][0] <= steps[-1][1]
    assert steps == sorted(steps)
    return test


@with_sound
def test_nothing_about_a_clip_but_its_sound_tells_what_it_is(engine, made):
    trials = store.trials_of(engine, made.id)
    assert sorted(t.kind for t in trials) == [CATCH, HUMAN, HUMAN, MACHINE, MACHINE]
    files = sorted(listening.folder_of(made.id).iterdir())
    assert {f.stem for f in files} == {t.clip for t in trials}
    assert len({f.stat().st_size for f in files}) == 1
    assert len({len(f.stem) for f in files}) == 1
    assert len({listening.read_clip(t) for t in trials}) == 5
    levels = []
    for file in files:
        with wave.open(str(file)) as sound:
            assert (sound.getnframes(), sound.getframerate(), sound.getnchannels()) == (3 * 48_000, 48_000, 2)
            samples = np.frombuffer(sound.readframes(3 * 48_000), np.int16).reshape(-1, 2) / 32768
            levels.append(listening_clips.loudness(samples))
    assert max(levels) - min(levels) < 0.1
    assert (made.about["tempo_bpm"], made.about["program"]) == (100, 0)
    assert made.about["grid"]["division"] == "1/16"


@with_sound
def test_two_models_are_set_against_each_other(engine, small_run):
    test = listening.new_test(
        engine, ListeningOptions("small@4", against="small@0", tempo_bpm=120, program=19, **SMALL)
    )
    trials = store.trials_of(engine, test.id)
    assert (test.kind, test.about["titles"], test.title) == (PREFERENCE, ["small@4", "small@0"], "small@4 or small@0?")
    assert sorted(t.kind for t in trials) == [CATCH, PAIR, PAIR]
    assert all(listening.read_clip(t, SECOND) != listening.read_clip(t, FIRST) for t in trials)
    assert (test.about["tempo_bpm"], test.about["instrument"]) == (120, "Church Organ")
    listening.delete_test(engine, test)
    assert not listening.folder_of(test.id).exists()
    with pytest.raises(ListeningError, match="the sound of this clip is gone"):
        listening.read_clip(trials[0])


def test_a_model_that_fell_silent_is_told_so(small_run, monkeypatch):
    monkeypatch.setattr(listening_clips, "LEAST_SOUNDING", 1.1)
    with pytest.raises(ListeningError, match="the model fell silent: of 8 pieces, 0 sound"):
        listening_clips.composed_excerpts("small", Grid("1/16"), 16, 100, 2, 0, Passed())


def test_composed_music_comes_from_the_middle_of_a_piece_and_keeps_the_grid(small_run):
    (excerpt,) = listening_clips.composed_excerpts("small", Grid("1/16"), 24, 100, 1, 7, Passed())
    assert excerpt.frames.shape == (24, KEYS)
    again = to_roll(from_roll(roll_from_frames(excerpt.frames, "1/16")), "1/16").sounding
    assert (again == excerpt.frames[: len(again)].astype(bool)).all()
    (coarse,) = listening_clips.composed_excerpts("small", Grid("1/8"), 12, 100, 1, 7, Passed())
    assert coarse.frames.shape == (12, KEYS)


# ---- listeners


def trials_for(n=10):
    kinds = [HUMAN, MACHINE] * ((n - 2) // 2) + [CATCH] * 2
    return [Trial(f"{i}", "t", kind, f"c{i}", truth=MACHINE if kind == CATCH else kind) for i, kind in enumerate(kinds)]


def test_each_listener_has_an_order_of_their_own_that_a_reload_does_not_change():
    trials = trials_for()
    orders = {tuple(t.id for t in listening.order_for(f"listener {i}", trials)) for i in range(20)}
    assert len(orders) == 20
    assert listening.order_for("me", trials) == listening.order_for("me", trials[::-1])
    first = [listening.order_for(f"listener {i}", trials)[0].id for i in range(600)]
    assert all(30 < first.count(t.id) < 100 for t in trials)  # 60 each, give or take five deviations
    sides = [listening.left_side(f"listener {i}", trials[0]) for i in range(400)]
    assert 150 < sides.count(FIRST) < 250


def counted(answers, trials=None):
    """The tally of a listener who gave these answers in turn."""
    trials = trials or trials_for()
    votes = [Vote("me", t.id, a, 0.0, 0.0) for t, a in zip(trials, answers, strict=False)]
    return counting.tally(Listener("me", "t"), trials, votes)


def test_a_tally_by_hand():
    # human, machine in turn: two machines taken for human, one human for a machine; both catches right
    answers = [HUMAN, MACHINE, HUMAN, HUMAN, MACHINE, HUMAN, HUMAN, MACHINE, MACHINE, MACHINE]
    t = counted(answers)
    assert (t.hits, t.machine, t.alarms, t.human) == (2, 4, 1, 4)
    assert (t.right, t.fooled) == (Share(5, 8), Share(2, 4))
    assert t.finished
    assert t.counts
    # H = 2.5 / 5, F = 1.5 / 5; z = 0 and -0.524401
    assert t.sensitivity.d == pytest.approx(0.524401, abs=1e-5)


def test_who_fails_a_catch_trial_or_does_not_finish_is_left_out_and_counted(engine):
    right = [HUMAN, MACHINE] * 4 + [MACHINE, MACHINE]
    assert counted(right).counts
    assert not counted([*right[:-1], HUMAN]).passed
    assert not counted(right[:-1]).finished
    test = ListeningTest("t", "T", HUMAN, {"clips": 8, "bound": 0.1})
    store.add_test(engine, test, trials_for())
    assert listening_words.headline(counting.results(engine, test)) == "Nobody has taken it yet."
    for answers in (right, right[:5], [*right[:-1], HUMAN]):
        me = store.add_listener(engine, "t").id
        for trial, answer in zip(sorted(trials_for(), key=lambda t: t.id), answers, strict=False):
            assert listening.vote(engine, test, me, trial.id, answer)
    results = counting.results(engine, test)
    assert (len(results.counted), results.left_out, results.unfinished) == (1, 1, 1)
    assert results.share == Share(8, 8)
    said = listening_words.headline(results)
    assert said.startswith("1 listener counts; 1 left out")
    assert said.endswith("1 not finished.")
    with pytest.raises(ListeningError, match="an answer must be human or machine, got 'first'"):
        listening.vote(engine, test, me, "0", FIRST)


def results_of(*tallies, kind=HUMAN, **about):
    test = ListeningTest("t", "T", kind, {"clips": 12, "bound": 0.1, "titles": ["one", "two"], **about})
    full = {"finished": True, "passed": True}
    return counting.Results(test, tuple(counting.Tally(Listener("me", "t"), **full, **t) for t in tallies))


def test_an_open_result_says_how_many_more_votes_it_takes():
    results = results_of({"hits": 3, "machine": 6, "alarms": 3, "human": 6})  # 6 of 12 right: p̂ is one half
    assert results.missing == 215 - 12
    assert results.missing_listeners == 17  # of 12 votes each
    said = listening_words.verdict(results)
    assert "This is open" in said
    assert "About 203 more votes until this means something, from 17 more listeners" in said
    assert "Machine taken for human: 50 % (3 of 6; 95 %: 12 to 88 %)." in listening_words.findings(results)


def test_a_difference_and_an_equivalence_are_said_outright():
    apart = results_of(*[{"hits": 6, "machine": 6, "alarms": 1, "human": 6}] * 4)
    assert listening_words.verdict(apart).startswith("Listeners tell them apart (p = 0.000)")
    assert apart.missing == 0
    same = results_of(*[{"hits": 3, "machine": 6, "alarms": 3, "human": 6}] * 30)
    said = listening_words.verdict(same)
    assert said.startswith("Within 10 points of 50 %, human and machine cannot be told apart: two one-sided tests")
    assert "of each listener, on average: 0.00 (95 %: 0.00 to 0.00)" in listening_words.findings(same)[-1]
    prefers = results_of(*[{"preferred": 6, "pairs": 6}] * 3, kind=PREFERENCE)
    assert listening_words.verdict(prefers).startswith("one is preferred")
    assert listening_words.findings(prefers)[1] == "two preferred: 0 % (0 of 18; 95 %: 0 to 19 %)."


def test_no_votes_claim_nothing_and_everything_is_json():
    empty = results_of()
    assert "Nothing is known yet" in listening_words.verdict(empty)
    for results in (empty, results_of({"hits": 3, "machine": 6, "alarms": 3, "human": 6})):
        report = json.loads(json.dumps(listening_words.to_dict(results), allow_nan=False))
        assert report["verdict"]["name"] == "open"
        assert set(report["d_prime"]) >= {"pooled", "interval", "mean_over_listeners"}


def test_what_listeners_said_of_a_model_stands_in_its_report_and_of_no_other(engine, small_run, monkeypatch):
    assert votes_on("small") == (
        [],
        ["Human ears: no blind test of it yet; make one with: deepmusician listening new -c small"],
    )
    weights = fingerprint("small")
    for name, of in (("mine", [weights]), ("other", ["0" * 16]), ("both", ["1" * 16, weights])):
        about = {"clips": 8, "weights": of, "bound": 0.1}
        trials = [replace(trial, id=f"{name}{trial.id}", test=name) for trial in trials_for()]
        store.add_test(engine, ListeningTest(name, name, HUMAN, about, 9.0 if name == "mine" else 1.0), trials)
        me = store.add_listener(engine, name)
        for trial in trials if name == "mine" else []:
            listening.vote(engine, store.find_test(engine, name), me.id, trial.id, trial.truth)
    report, words = votes_on("small")
    assert [one["test"] for one in report] == ["mine", "both"]  # the newest first
    assert report[0]["listeners"]["counted"] == 1 and report[0]["share"]["value"] == 1.0
    assert words[0].startswith("Human ears, “mine”: 1 listener counts. Machine taken for human: 0 % (0 of ")
    monkeypatch.setenv("DEEPMUSICIAN_DATABASE", "nothing://x")
    report, words = votes_on("small")
    assert set(report) == {"problem"} and "database" in words[0]


# ---- export


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@x", "\t=1", "  =cmd|' /C calc'!A0"])
def test_a_cell_that_a_spreadsheet_would_run_is_made_harmless(cell):
    assert counting.harmless(cell) == f"'{cell}"


def test_the_votes_come_as_a_table(engine):
    test = ListeningTest("t", "=HYPERLINK(1)", HUMAN, {})
    store.add_test(engine, test, trials_for(4))
    me = store.add_listener(engine, "t", '=cmd("x"),"y"')
    listening.vote(engine, test, me.id, "0", HUMAN, 4.25)
    (row,) = csv.DictReader(io.StringIO(counting.export_csv(engine, test), newline=""))
    assert row["name"] == '\'=cmd("x"),"y"'
    assert row["title"] == "'=HYPERLINK(1)"
    assert (row["kind"], row["truth"], row["answer"], row["seconds"], row["counts"]) == (
        "human", "human", "human", "4.2", "no",
    )  # fmt: skip


# ---- the command line


@with_sound
def test_the_command_line_makes_lists_tells_exports_and_deletes(small_run, tmp_path, capsys, engine):
    words = ["listening", "new", "-c", "small", "--title", "mine", "--clips", "4", "--seconds", "3", "--catches", "1"]
    assert cli.main(words) == 0
    test = store.find_test(engine, "mine")
    assert f"/listen?test={test.id}" in capsys.readouterr().out
    me = store.add_listener(engine, test.id).id
    for trial in store.trials_of(engine, test.id):
        listening.vote(engine, test, me, trial.id, trial.truth)
    assert cli.main(["listening", "list"]) == 0
    assert "   1 listeners  mine" in capsys.readouterr().out
    assert cli.main(["listening", "results", "mine"]) == 0
    assert "Called what they are: 100 % (4 of 4" in capsys.readouterr().out
    assert cli.main(["listening", "results", test.id, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["share"]["k"] == 4
    assert cli.main(["listening", "export", "mine", "-o", str(tmp_path / "votes.csv")]) == 0
    assert "5 votes" in capsys.readouterr().out
    assert len((tmp_path / "votes.csv").read_text().splitlines()) == 6
    assert cli.main(["listening", "delete", "mine"]) == 0
    assert cli.main(["listening", "results", "mine"]) == 2
    assert "there is no listening test called 'mine'" in capsys.readouterr().err
