"""The studio's pages, run from app.py without a browser: every page, and the states a person may meet."""

import dataclasses
import inspect
import io
import json
import shutil
import sys
import time
import types
import zipfile
from pathlib import Path

import pytest
from conftest import TINY, scale_song
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.pages_manager import PagesManager
from streamlit.testing.v1 import AppTest

from deepmusician import history
from deepmusician.errors import RunError
from deepmusician.library import list_data_sets, load_data_set, read_uploads, save_data_set
from deepmusician.midi import read_midi, write_midi
from deepmusician.options import GenerateOptions, TrainOptions
from deepmusician.recipes import list_recipes, recipe_options
from deepmusician.render import sound_problem
from deepmusician.runs import Status, list_runs, new_run, open_run
from ui import router, words
from ui.options_form import group, help_text, said, stops
from ui.router import COMPOSE, HOME, HOW, JUDGE, LIBRARY, LISTEN, RUNS, TRAIN

APP = str(Path(__file__).parents[1] / "app.py")
PAGES = {HOME: "Deep Musician", LIBRARY: "Library", TRAIN: "Train", COMPOSE: "Compose", HOW: "How it works"}
PAGES |= {RUNS: "Runs", JUDGE: "Judge", LISTEN: "Listen"}
MIDI = "audio/midi"


@pytest.fixture(autouse=True)
def own_workspace(home, monkeypatch):
    """No test sees another's data sets, runs or checkpoints, the bundled ones included."""
    monkeypatch.setattr("deepmusician.checkpoint.BUNDLED", home / "bundled")


@pytest.fixture(autouse=True)
def warm_server(monkeypatch):
    """AppTest takes every run for the first one of a server; a server's later runs all go through app.py."""
    begin = PagesManager.__init__

    def warm(self, *args, **kwargs):
        begin(self, *args, **kwargs)
        PagesManager.uses_pages_directory = False

    monkeypatch.setattr(PagesManager, "__init__", warm)
    return begin


def open_page(path=HOME, **query):
    app = AppTest.from_file(APP, default_timeout=60)
    app.query_params.update(query)
    app.switch_page(path) if path != HOME else None
    return well(app.run())


def well(app):
    """No traceback is on the page."""
    assert not app.exception, [e.value for e in app.exception]
    return app


def pictures(app):
    """The pictures on the page, as HTML."""
    return [h.proto.body for h in app.get("html") if "data:image/png" in h.proto.body]


def picture(app):
    """The last of them."""
    return pictures(app)[-1]


def players(app):
    """What each player on the page was told: its pieces, and what can be heard of them."""
    told = [json.loads(c.proto.json) for c in app.get("bidi_component")]
    return [{**roll, **news} for roll, news in zip(told[::2], told[1::2], strict=True)]


def by_label(widgets, label):
    return next(w for w in widgets if w.label == label)


def by_key(widgets, key):
    return next(w for w in widgets if w.key == key)


def texts(elements):
    return " ".join(e.value for e in elements)


def tunes(n=6):
    return [(f"tune-{i}.mid", write_midi(scale_song(48 + i)), MIDI) for i in range(n)]


def upload(app, files, name=""):
    next(w for w in app.file_uploader if w.key.startswith("upload.files")).set_value(files)
    by_label(app.text_input, "Keep as").set_value(name)
    return well(by_label(app.button, "Add to the library").click().run())


def test_the_memory_of_an_upload_is_given_back_once_it_was_read(monkeypatch):
    held = []
    remove = MemoryUploadedFileManager.remove_file

    def watched(self, session, file):
        before = len(self.get_files(session, [file]))
        remove(self, session, file)
        held.append((before, len(self.get_files(session, [file]))))

    monkeypatch.setattr(MemoryUploadedFileManager, "remove_file", watched)
    app = upload(open_page(LIBRARY), tunes(2), "two")
    assert held == [(1, 0)] * 2 and not [w for w in app.file_uploader if w.value]


def keep_tunes(name="tunes"):
    save_data_set(read_uploads([(label, data) for label, data, _ in tunes()]), name)


def everything(app):
    """Train with every option shown."""
    return well(by_key(app.get("button_group"), "train.view").set_value("Every option").run())


def set_tiny(app, epochs=2):
    """Move the sliders to the smallest network."""
    everything(app)
    for option, value in (TINY | {"n_epochs": epochs}).items():
        by_key(app.select_slider if option in _STEPPED else app.slider, f"train.{option}").set_value(value)
    return app


needs_sound = pytest.mark.skipif(sound_problem() is not None, reason="FluidSynth or a soundfont is missing here")
_STEPPED = {f.name for f in dataclasses.fields(TrainOptions) if stops(f)}


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.2)


# ---- every page


@pytest.mark.parametrize(("path", "title"), PAGES.items())
def test_a_page_opens_in_an_empty_studio(path, title):
    app = open_page(path)
    assert [t.value for t in app.title] == [title]
    assert not app.error


@pytest.mark.parametrize("path", [LIBRARY, TRAIN, COMPOSE])
def test_a_deep_link_on_a_fresh_server_goes_through_the_router(path, warm_server, monkeypatch):
    # on a fresh one, Streamlit runs a file of pages/ without app.py until st.navigation was called
    monkeypatch.setattr(PagesManager, "__init__", warm_server)
    callers, navigation = [], router.navigation

    def spy(menu):
        callers.append(Path(inspect.stack()[1].filename).name)
        return navigation(menu)

    monkeypatch.setattr(router, "navigation", spy)
    open_page(path)
    assert callers == ["page.py", "app.py"]  # the page's guard, then the router


def test_pages_are_reached_from_one_another():
    app = open_page()
    for path, title in PAGES.items():
        well(app.switch_page(path).run())
        assert [t.value for t in app.title] == [title]


def test_opening_a_page_does_not_load_torch(home):
    import os
    import subprocess
    import sys

    code = (
        "import sys; from streamlit.testing.v1 import AppTest\n"
        f"for page in {list(PAGES)}:\n"
        f"    app = AppTest.from_file({APP!r}, default_timeout=60).run(); app.switch_page(page).run()\n"
        "    assert not app.exception and 'torch' not in sys.modules and 'music21' not in sys.modules, page"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ, cwd=Path(APP).parent)


# ---- empty states say what to do


def test_home_without_a_model_leads_to_training():
    app = open_page()
    assert "No trained model is here yet" in texts(app.info)
    assert "Train the first model" in [link.label for link in app.get("page_link")]


def test_library_without_music_asks_for_some_and_converts_nothing(monkeypatch):
    monkeypatch.setattr("deepmusician.corpora._convert", lambda *a: pytest.fail("nobody asked for a corpus"))
    assert "Add music of your own above, or pick a corpus" in texts(open_page(LIBRARY).info)


def test_compose_without_a_model_leads_to_training():
    app = open_page(COMPOSE)
    assert "no trained model yet" in texts(app.info)
    assert not app.button


def test_adding_nothing_asks_for_a_file():
    assert "Choose a file first" in texts(upload(open_page(LIBRARY), []).info)


def test_an_address_of_a_run_that_is_gone_says_so():
    keep_tunes()
    new_run(TrainOptions(path="tunes", **TINY), "here")
    app = open_page(TRAIN, run="gone")
    assert "no training called gone" in texts(app.warning)


def test_an_address_of_a_model_that_is_gone_says_so(trained):
    assert "no model called gone" in texts(open_page(COMPOSE, model="gone").warning)


# ---- library


def test_uploaded_files_are_kept_under_a_name_and_shown():
    app = upload(open_page(LIBRARY), tunes(), "my tunes")
    assert "6 pieces kept as “my tunes”" in texts(app.success)
    assert list_data_sets() == ["my tunes"]
    assert app.query_params["data"] == "my tunes"
    numbers = {m.label: m.value for m in app.metric}
    assert numbers == {"Files": "6", "Tracks": "6", "Notes": "528", "Bars": "48", "Minutes": "2"}
    table = app.dataframe[0].value
    assert table["piece"].tolist() == [f"tune-{i}.mid" for i in range(6)]
    assert table["key"].tolist()[0] == "≈ C major"
    assert [(p["name"], len(p["notes"]["onset"])) for p in players(app)[0]["pieces"]] == [("tune-0", 88)]
    assert "**6 of 6 files are learnt from**, as they were read." in texts(app.markdown)
    assert picture(app).count("data:image/png;base64,") == 2  # wide and narrow


def test_a_zip_is_opened_and_named_after_itself():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for label, data, _ in tunes(2):
            archive.writestr(f"songs/{label}", data)
    upload(open_page(LIBRARY), [("etudes.zip", file.getvalue(), "application/zip")])
    assert load_data_set("etudes").names == ("songs/tune-0.mid", "songs/tune-1.mid")


def test_a_broken_file_is_a_sentence_and_nothing_is_kept():
    app = upload(open_page(LIBRARY), [("broken.mid", b"this is not MIDI", MIDI)])
    assert "broken.mid could not be read" in texts(app.error)
    assert list_data_sets() == []


def test_a_broken_file_among_good_ones_is_left_out_in_the_table_with_its_reason():
    app = upload(open_page(LIBRARY), [*tunes(2), ("broken.mid", b"this is not MIDI", MIDI)], "some")
    assert "1 file could not be read; the reasons stand below" in texts(app.success)
    assert "**1 file could not be read.** `broken.mid`:" in texts(app.markdown)
    first = app.dataframe[0].value.iloc[0]
    assert first["verdict"] == "✕ Left out" and first["why"].startswith("it could not be read: ")
    files = next(m for m in app.metric if m.label == "Files")
    assert (files.value, files.delta) == ("2", "of 3")


def test_a_name_that_cannot_be_kept_is_a_sentence():
    app = upload(open_page(LIBRARY), tunes(1), "../elsewhere")
    assert "A data set's name must be" in texts(app.error)


def test_the_same_file_twice_gets_a_free_name():
    app = open_page(LIBRARY)
    upload(app, tunes(1))
    upload(open_page(LIBRARY), tunes(1))
    assert list_data_sets() == ["tune-0", "tune-0 2"]


def test_a_data_set_that_was_saved_anew_is_shown_anew():
    keep_tunes("mine")
    app = open_page(LIBRARY, data="mine")
    save_data_set(read_uploads([(label, data) for label, data, _ in tunes(2)]), "mine")
    well(app.run())
    assert {m.label: m.value for m in app.metric}["Files"] == "2"


@needs_sound
def test_sound_is_rendered_only_when_it_is_asked_for():
    keep_tunes()
    app = open_page(LIBRARY, data="tunes")
    assert players(app)[0]["sounds"] == [None]
    app.session_state["library.sound"] = {"ask": {"want": True, "of": [players(app)[0]["of"][0]], "muted": [[]]}}
    assert not players(app)[0]["pending"]
    app = well(app.run())
    assert players(app)[0]["pending"] or players(app)[0]["sounds"][0]["whole"]


def test_without_sound_a_sentence_says_so_and_midi_can_still_be_taken_home(monkeypatch):
    from ui import cached

    keep_tunes()
    cached.sound_problem.clear()
    monkeypatch.setattr("deepmusician.render.sound_problem", lambda: "install libfluidsynth3.")
    app = open_page(LIBRARY, data="tunes")
    cached.sound_problem.clear()
    assert "There is no sound: install libfluidsynth3." in texts(app.info)
    assert [b.label for b in app.get("download_button")] == ["MIDI", "MusicXML", "Export"]


@needs_sound
def test_music_begins_where_it_was_asked_for_and_not_when_one_comes_back(trained):
    app = open_page()
    well(app.button[0].click().run())
    assert players(app)[0]["play"]
    app.switch_page(TRAIN).run()
    app.switch_page(HOME).run()
    assert not players(app)[0]["play"]


# ---- training


def test_every_training_option_has_a_control_with_its_help_and_its_default():
    app = everything(open_page(TRAIN))
    kinds = (
        app.slider,
        app.select_slider,
        app.toggle,
        app.number_input,
        app.get("button_group"),
        app.selectbox,
        app.multiselect,
    )
    controls = {w.key: w for kind in kinds for w in kind}
    for field in dataclasses.fields(TrainOptions):
        if field.name == "path":
            assert controls["train.data"].value == [field.default]
            continue
        control = controls[f"train.{field.name}"]
        assert field.metadata["help"][1:] in control.help
        assert control.value == field.default


def test_options_stay_as_set_when_another_page_was_visited():
    app = everything(open_page(TRAIN))
    well(by_key(app.slider, "train.gamma").set_value(3.5).run())
    app.switch_page(HOME).run()
    app.switch_page(TRAIN).run()
    assert by_key(app.slider, "train.gamma").value == 3.5


def test_the_loss_is_explained_beside_its_picture():
    app = open_page(TRAIN)
    assert "counts **972 times** what it does under bce" in texts(app.markdown)
    before = picture(app)
    well(by_key(app.get("button_group"), "train.loss").set_value("bce").run())
    assert "Every key counts alike" in texts(app.markdown)
    assert picture(app) != before


def test_a_recipe_sets_where_the_controls_begin():
    app = everything(open_page(TRAIN))
    well(by_key(app.selectbox, "train.recipe").set_value("tcn").run())
    assert "Bai, J. Z. Kolter & V. Koltun: An Empirical Evaluation" in texts(app.caption)
    assert by_key(app.select_slider, "train.tcn.hidden_size").value == 150
    assert by_key(app.slider, "train.tcn.kernel_size").value == 5
    assert by_key(app.get("button_group"), "train.tcn.backbone").value == "tcn"
    assert "Changed from the recipe" not in texts(app.caption)


def test_what_was_changed_is_said_and_stays_with_its_recipe():
    app = everything(open_page(TRAIN))
    by_key(app.selectbox, "train.recipe").set_value("tcn").run()
    well(by_key(app.slider, "train.tcn.kernel_size").set_value(3).run())
    assert "Changed from the recipe: Frames in a convolution: 3." in texts(app.caption)
    well(by_key(app.selectbox, "train.recipe").set_value("deep-musician").run())
    assert "Changed from the recipe" not in texts(app.caption)
    well(by_key(app.selectbox, "train.recipe").set_value("tcn").run())
    assert by_key(app.slider, "train.tcn.kernel_size").value == 3


def test_options_that_say_nothing_about_a_model_are_greyed_out():
    app = everything(open_page(TRAIN))
    assert by_key(app.slider, "train.kernel_size").disabled
    assert not by_key(app.slider, "train.decoder_n_layers").disabled
    assert by_key(app.get("button_group"), "train.guesses").disabled
    well(by_key(app.slider, "train.teacher_forcing_ratio").set_value(0.5).run())
    assert not by_key(app.get("button_group"), "train.guesses").disabled
    well(by_key(app.selectbox, "train.recipe").set_value("tcn").run())
    assert not by_key(app.slider, "train.tcn.kernel_size").disabled
    assert by_key(app.slider, "train.tcn.decoder_n_layers").disabled


@pytest.fixture
def asked(monkeypatch):
    """The options that trainings are started with; none is."""
    options = []

    def start(wanted, name, minutes):
        options.append(wanted)
        raise RunError("none is started here")

    monkeypatch.setattr("deepmusician.budget.start_promised", start)
    return options


def test_five_controls_are_enough_and_what_is_not_shown_stays_as_it_was(asked):
    app = open_page(TRAIN)
    simple = {w.key for kind in (app.slider, app.select_slider, app.toggle, app.number_input) for w in kind}
    assert simple == {"train.n_epochs", "train.hidden_size"}
    assert "train.loss" in {w.key for w in app.get("button_group")}
    well(by_key(everything(app).slider, "train.gamma").set_value(3.5).run())
    well(by_key(app.get("button_group"), "train.view").set_value("Five controls").run())
    assert "Changed from the recipe: γ, focus on what is hard: 3.5" in texts(app.caption)
    well(by_label(app.button, "Start training").click().run())
    assert asked == [TrainOptions(gamma=3.5)]


def test_what_is_changed_is_marked_on_its_control_and_put_back_alone_or_with_all():
    app = open_page(TRAIN)
    assert not [b for b in app.button if str(b.key).startswith("reset-")]
    by_key(app.select_slider, "train.hidden_size").set_value(64)
    well(by_key(app.get("button_group"), "train.loss").set_value("bce").run())
    assert by_key(app.button, "reset-train.hidden_size").label == "512 in the recipe"
    well(by_key(app.button, "reset-train.hidden_size").click().run())
    assert by_key(app.select_slider, "train.hidden_size").value == 512
    assert by_key(app.get("button_group"), "train.loss").value == "bce"
    well(by_label(app.button, "Put all back as in the recipe").click().run())
    assert by_key(app.get("button_group"), "train.loss").value == "focal"
    assert not [b for b in app.button if str(b.key).startswith("reset-")]


def test_the_share_of_sounding_keys_is_that_of_the_chosen_music_at_the_chosen_frames():
    from deepmusician.library import read_source
    from deepmusician.rolls import make_rolls

    keep_tunes()
    app = everything(open_page(TRAIN))
    for division in ("1/16", "1/4"):
        well(by_key(app.select_slider, "train.division").set_value(division).run())
        share = make_rolls(read_source("library:tunes").songs, division).density / 88
        assert f"{100 * share:.1f} % of the keys sound" in texts(app.markdown)


def test_the_share_of_a_large_data_set_is_found_by_some_of_its_pieces_and_kept(tmp_path, monkeypatch):
    from deepmusician import collected
    from deepmusician.ingest import ingest
    from deepmusician.rolls import make_rolls
    from ui import cached

    songs = [scale_song(40 + i, 16 + 8 * i) for i in range(7)]
    for i, song in enumerate(songs):
        write_midi(song, tmp_path / f"{i}.mid")
    ingest([tmp_path / f"{i}.mid" for i in range(7)], "large")
    monkeypatch.setattr(cached, "LOOKED_AT", 3)
    share = cached.sounding_share(["large"], "1/16", "all", False)
    assert share == make_rolls(songs[::3], "1/16").density / 88
    monkeypatch.setattr(collected, "shard", lambda *_: pytest.fail("the notes were read again"))
    assert cached.sounding_share(["large"], "1/16", "all", False) == share


def test_how_long_it_takes_is_measured_at_a_click_and_said(monkeypatch):
    from test_estimate import pace

    from deepmusician.estimate import keep

    keep_tunes()
    monkeypatch.setattr("ui.time_form.start_measuring", lambda options, minutes: pytest.fail("nobody asked yet"))
    app = open_page(TRAIN)
    assert "How long will it take?" in [b.label for b in app.button]
    keep(TrainOptions(path="library:tunes"), pace())
    assert "About 1 min 30 s for 40 epochs on this machine" in texts(well(app.run()).markdown)
    well(by_key(app.get("button_group"), "train.length").set_value("a number of minutes").run())
    assert "5 minutes hold 134 epochs, 1,340 steps." in texts(app.markdown)


def test_measuring_can_be_given_up_and_says_why_it_failed(monkeypatch):
    import subprocess

    keep_tunes()
    code = {"sleeps": "import time; time.sleep(60)", "fails": "import sys; sys.exit('deepmusician: no such music')"}
    started = []

    def begin(options, minutes):
        started.append(subprocess.Popen(
            [sys.executable, "-c", code["fails" if started else "sleeps"]], stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        ))  # fmt: skip
        return started[-1]

    monkeypatch.setattr("ui.time_form.start_measuring", begin)
    app = open_page(TRAIN)
    well(by_label(app.button, "How long will it take?").click().run())
    assert "Taking a few steps" in texts(app.markdown)
    well(by_label(app.button, "Never mind").click().run())
    assert started[0].poll() is not None
    well(by_label(app.button, "How long will it take?").click().run())
    wait_until(lambda: started[1].poll() is not None)
    for _ in range(2):  # it stays there to be read
        assert "No such music" in texts(well(app.run()).error)
    assert by_label(app.button, "How long will it take?")


def test_the_losses_are_compared_in_a_lab_of_three_runs(monkeypatch):
    from deepmusician.lab import list_labs

    keep_tunes()
    monkeypatch.setattr("deepmusician.runs.Run.resume", lambda run: run)
    app = open_page(TRAIN)
    well(by_label(app.button, "Compare the losses").click().run())
    (lab,) = list_labs()
    assert list(lab.runs()) == ["bce", "focal", "focal+"]
    assert app.query_params["run"] == [f"{lab.name}-bce"] or app.query_params["run"] == f"{lab.name}-bce"
    assert f"Loss lab: {lab.name}" in [h.value for h in app.subheader]
    for run in lab.runs().values():
        run.write_metrics([{"epoch": 1, "train": {"loss": 1, "nll": 5}, "valid": {"loss": 1, "nll": 6.0, "f1": 0.5}}])
        run.write_status(Status("finished", epoch=1, n_epochs=1))
    table = well(app.run()).dataframe[0].value
    assert table["loss"].tolist() == ["bce", "focal", "focal+"] and table["nats/frame"].tolist() == [6.0] * 3


def test_every_recipe_can_be_chosen_and_starts_as_it_is(asked):
    app, names = open_page(TRAIN), [recipe.name for recipe in list_recipes()]
    for name in names:
        well(by_key(app.selectbox, "train.recipe").set_value(name).run())
        well(by_label(app.button, "Start training").click().run())
    assert asked == [recipe_options(name) for name in names]


def test_parts_that_do_not_go_together_are_a_sentence():
    app = everything(open_page(TRAIN))
    by_key(app.get("button_group"), "train.head").set_value("axis")
    well(by_label(app.button, "Start training").click().run())
    assert "reads a context of each key" in texts(app.error) and "set it to “a GRU for each key”" in texts(app.error)
    assert list_runs() == []


def test_several_data_sets_are_learnt_as_styles(asked):
    keep_tunes()
    app = open_page(TRAIN)
    assert by_key(app.multiselect, "train.data").value == ["tunes"]
    well(by_key(app.multiselect, "train.data").set_value(["tunes", "bach-chorales"]).run())
    assert app.query_params["data"] == ["tunes", "bach-chorales"]
    well(by_label(app.button, "Start training").click().run())
    assert asked[0].path == "library:tunes|bach-chorales"


def test_chosen_data_sets_stay_when_another_page_was_visited_unless_another_was_looked_at():
    keep_tunes()
    app = open_page(TRAIN)
    well(by_key(app.multiselect, "train.data").set_value(["bach-chorales", "tunes"]).run())
    app.switch_page(HOME).run()
    app.switch_page(TRAIN).run()
    assert by_key(app.multiselect, "train.data").value == ["bach-chorales", "tunes"]
    keep_tunes("others")
    app.switch_page(LIBRARY).run()
    well(by_key(app.selectbox, "library.data").set_value("others").run())
    app.switch_page(TRAIN).run()
    assert by_key(app.multiselect, "train.data").value == ["others"]


def test_there_is_always_something_to_learn_from():
    keep_tunes()
    app = open_page(TRAIN)
    well(by_key(app.multiselect, "train.data").set_value([]).run())
    assert by_key(app.multiselect, "train.data").value == ["tunes"]


@pytest.fixture(scope="session")
def trained_home(tmp_path_factory):
    """A workspace with a run that has trained two epochs on small tunes; not to be changed."""
    from deepmusician.runner import train_run

    folder = tmp_path_factory.mktemp("trained") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEEPMUSICIAN_HOME", str(folder))
        keep_tunes()
        train_run(new_run(TrainOptions(path="tunes", n_epochs=2, **TINY), "small"))
    return folder


@pytest.fixture
def trained(home, trained_home):
    """A copy of that run in this test's workspace."""
    shutil.copytree(trained_home, home, symlinks=True, dirs_exist_ok=True)
    return open_run("small")


def test_upload_train_and_compose_in_one_session():
    app = upload(open_page(LIBRARY), tunes(), "mine")
    app.switch_page(TRAIN).run()
    assert by_key(app.multiselect, "train.data").value == ["mine"]
    set_tiny(app)
    by_label(app.text_input, "Name of this training").set_value("first")
    well(by_label(app.button, "Start training").click().run())
    assert app.query_params["run"] == "first"

    run = open_run("first")
    wait_until(lambda: not run.status().live)
    assert run.status().state == "finished", run.log()
    well(app.run())
    assert "finished" in texts(app.markdown)
    assert {"Surprise", "F1", "Density"} <= {m.label for m in app.metric}
    assert "Estimated" in texts(app.caption) and ", took" in texts(app.caption)
    assert "each of its training songs 2 times." in texts(app.caption)
    assert "It has only begun" in texts(app.info)

    well(by_label(app.button, "Compose with it").click().run())
    app = open_page(COMPOSE, model="run-first")
    well(by_label(app.button, "Compose").click().run())
    assert "MIDI" in [b.label for b in app.get("download_button")]
    assert not app.error


def test_a_run_at_work_is_shown_after_a_reload_and_can_be_stopped():
    keep_tunes()
    app = open_page(TRAIN)
    set_tiny(app, epochs=5000)
    well(by_label(app.button, "Start training").click().run())
    run = list_runs()[0]
    try:
        wait_until(lambda: len(run.metrics()) >= 1)
        again = open_page(TRAIN)  # a new session, without the address
        assert "Epoch" in again.get("progress")[0].proto.text
        assert "sign of life" in texts(again.caption)
        assert {"Time left", "Frames a second"} <= {m.label for m in again.metric}
        well(by_label(again.button, "Stop").click().run())
    finally:
        run.stop()
        wait_until(lambda: not run.status().live)
    assert run.status().state == "stopped"
    again = open_page(TRAIN, run=run.name)
    assert {"Resume", "Compose with it", "Another training"} <= {b.label for b in again.button}


def test_a_data_set_that_is_gone_fails_the_run_in_words():
    keep_tunes("soon gone")
    app = open_page(TRAIN, data="soon gone")
    set_tiny(app)
    from deepmusician.library import delete_data_set

    delete_data_set("soon gone")
    run = new_run(TrainOptions(path="soon gone", n_epochs=1, **TINY), "lost").resume()
    wait_until(lambda: not run.status().live)
    page = open_page(TRAIN, run="lost")
    assert "soon gone" in texts(page.error)


def test_a_name_that_is_taken_is_a_sentence(trained):
    app = open_page(TRAIN, run="new", data="tunes")
    by_label(app.text_input, "Name of this training").set_value("small")
    well(by_label(app.button, "Start training").click().run())
    assert "A run called 'small' exists" in texts(app.error)


# ---- composing


@pytest.fixture(scope="session")
def two_styles_home(tmp_path_factory):
    """A workspace with a run that has trained an epoch on two data sets, with attention; not to be changed."""
    from deepmusician.runner import train_run

    folder = tmp_path_factory.mktemp("styles") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEEPMUSICIAN_HOME", str(folder))
        for name in ("airs", "reels"):
            keep_tunes(name)
        options = TrainOptions(path="library:airs|library:reels", n_epochs=1, attention="dot", **TINY)
        train_run(new_run(options, "two"))
    return folder


@pytest.fixture
def two_styles(home, two_styles_home):
    """A copy of that run in this test's workspace."""
    shutil.copytree(two_styles_home, home, symlinks=True, dirs_exist_ok=True)
    return open_run("two")


def test_every_composing_option_has_a_control(two_styles):
    app = open_page(COMPOSE, model="run-two")
    assert by_key(app.get("button_group"), "compose.init").options[2] == "on from a piece"
    by_key(app.get("button_group"), "compose.init").set_value("guided").run()
    by_key(app.get("button_group"), "compose.sampler").set_value("threshold").run()
    kinds = (app.slider, app.select_slider, app.number_input, app.selectbox, app.get("button_group"), app.toggle)
    shown = {w.key for kind in kinds for w in kind}
    sampling = {"compose.temperature", "compose.top_p", "compose.fullness"}  # shown with the other sampler
    expected = {f"compose.{f.name}" for f in dataclasses.fields(GenerateOptions)} - sampling
    expected -= {"compose.seq_len"}  # said in bars
    assert expected | {"compose.bars"} <= shown
    by_key(app.get("button_group"), "compose.sampler").set_value("sample").run()
    assert sampling <= {w.key for kind in (app.slider, app.select_slider) for w in kind}
    assert "Automatic is temperature" in texts(app.caption)


def test_length_in_bars_is_shown_as_frames(trained):
    app = open_page(COMPOSE)
    well(by_key(app.slider, "compose.bars").set_value(4).run())
    assert "64 frames of 1/16 of a whole note" in texts(app.caption)


def compose(app):
    return well(by_label(app.button, "Compose").click().run())


def request_of(app):
    """What the page was asked for last."""
    from ui import keys

    return app.session_state[keys.REQUEST.name]


def composed(app):
    """The notes on the page: those of the history's newest piece."""
    from deepmusician import history
    from ui import keys

    return history.find(app.session_state[keys.NOTED.name][1][0]).song()


def test_the_same_seed_gives_the_same_piece_and_another_one_another(trained):
    first = composed(compose(open_page(COMPOSE)))
    assert write_midi(composed(compose(open_page(COMPOSE)))) == write_midi(first)
    app = open_page(COMPOSE)
    by_key(app.number_input, "compose.seed").set_value(7)
    assert write_midi(composed(compose(app))) != write_midi(first)


def test_tempo_and_instrument_are_those_chosen(trained):
    app = open_page(COMPOSE)
    by_key(app.selectbox, "compose.program").set_value(40)
    by_key(app.slider, "compose.tempo_bpm").set_value(140.0)
    song = composed(compose(app))
    assert song.tempo_bpm == pytest.approx(140, abs=0.01)
    assert set(song.notes["program"]) == {40}


def test_guided_composing_goes_on_from_an_uploaded_piece(trained):
    app = open_page(COMPOSE)
    by_key(app.get("button_group"), "compose.init").set_value("guided").run()
    assert request_of(compose(app)).song is None  # one that the model kept
    by_label(app.get("button_group"), "Go on from").set_value("a file of mine").run()
    by_label(app.file_uploader, "The piece").set_value(("mine.mid", write_midi(scale_song(60)), MIDI))
    prime = history.kept_song(request_of(compose(well(app.run()))).song)
    assert prime.notes["pitch"].tolist() == scale_song(60).notes["pitch"].tolist()
    assert len(composed(app))


def test_a_broken_piece_to_go_on_from_is_a_sentence(trained):
    app = open_page(COMPOSE)
    by_key(app.get("button_group"), "compose.init").set_value("guided").run()
    by_label(app.get("button_group"), "Go on from").set_value("a file of mine").run()
    by_label(app.file_uploader, "The piece").set_value(("broken.mid", b"this is not MIDI", MIDI))
    assert texts(well(app.run()).error)


def choose_style(app, kind):
    return well(by_key(app.get("button_group"), "compose.style").set_value(kind).run())


def test_a_style_is_one_of_those_the_model_learnt_a_mix_or_a_change(two_styles):
    app = open_page(COMPOSE)
    assert by_label(app.selectbox, "In the style of").options == ["airs", "reels"]
    by_label(app.selectbox, "In the style of").set_value("reels")
    assert request_of(compose(app)).options["style"] == "reels"
    choose_style(app, "a mix")
    by_label(app.slider, "airs").set_value(0.2)
    assert request_of(compose(app)).options["style"] == "airs:0.2,reels:0.5"
    choose_style(app, "a change")
    by_label(app.selectbox, "It begins as").set_value("reels")
    by_label(app.selectbox, "It ends as").set_value("airs")
    assert request_of(compose(app)).options["style"] == "reels>airs"
    assert len(composed(app))


@pytest.mark.parametrize(
    ("style", "kind", "shown"),
    [
        ("reels", "one", {"In the style of": "reels"}),
        ("reels>airs", "a change", {"It begins as": "reels", "It ends as": "airs"}),
        ("airs:0.2,reels:0.5", "a mix", {"airs": 0.2, "reels": 0.5}),
        ("reels:4,airs:1", "a mix", {"airs": 0.25, "reels": 1.0}),
        ("reels:0.3", "a mix", {"airs": 0.0, "reels": 0.3}),
    ],
)
def test_a_link_sets_the_style_that_the_piece_is_in(style, kind, shown, two_styles):
    app = open_page(COMPOSE, model="run-two", seed="0", seq_len="32", style=style)
    assert by_key(app.get("button_group"), "compose.style").value == kind
    for name, value in shown.items():
        assert by_label([*app.selectbox, *app.slider], name).value == value
    assert request_of(app).options["style"] == style


def test_a_mix_of_nothing_is_a_sentence(two_styles):
    app = choose_style(open_page(COMPOSE), "a mix")
    for name in ("airs", "reels"):
        by_label(app.slider, name).set_value(0.0)
    assert "weights of a mix must not all be 0" in texts(compose(app).error)


def test_a_model_of_one_style_offers_none(trained):
    app = open_page(COMPOSE)
    assert "compose.style" not in {w.key for w in app.get("button_group")}
    assert "style" not in request_of(compose(app)).options


def expanders(app):
    return [block.label for block in app.expander]


def test_what_attention_looked_at_is_drawn_when_it_is_asked_for(two_styles, monkeypatch):
    from deepmusician import attention

    app = compose(open_page(COMPOSE))
    assert not pictures(app)
    assert "What it looked at" in expanders(app)
    app.session_state["compose.looks"] = True
    shown = picture(well(app.run()))
    assert "How much beats 62–64 looked at each frame of the window before" in shown  # windows of 8 semiquavers
    monkeypatch.setattr(attention, "attention_of", lambda *a: pytest.fail("it is kept"))
    slider = by_label(app.select_slider, "Window (beats)")
    assert picture(well(slider.set_value(0).run())) != shown


def test_a_piece_within_one_window_has_looked_at_nothing(two_styles):
    app = open_page(COMPOSE)
    by_key(app.slider, "compose.bars").set_value(1)
    by_key(app.select_slider, "compose.division").set_value("1/4")
    app.session_state["compose.looks"] = True
    assert "a window is 8 frames" in texts(compose(app).caption)


def test_a_model_without_attention_shows_no_picture_of_it(trained):
    assert "What it looked at" not in expanders(compose(open_page(COMPOSE)))


def test_tempo_and_instrument_begin_where_the_model_has_them_and_stay_with_it(trained):
    from deepmusician.checkpoint import amend_card

    amend_card(trained.checkpoint(), composing={"tempo_bpm": 66.0, "program": 19})
    app = open_page(COMPOSE)
    tempo = by_label(app.slider, "Tempo (beats a minute)")
    assert (tempo.value, by_label(app.selectbox, "Instrument").value) == (66, 19)
    tempo.set_value(70.0).run()
    app.switch_page(HOME).run()
    well(app.switch_page(COMPOSE).run())
    assert composed(compose(app)).tempo_bpm == pytest.approx(70, abs=0.01)


# ---- humanising


def louder(source, song, strength=1.0, seed=0):
    """In place of a model of expression: every note by `strength` of the way to velocity 100."""
    notes = song.notes.copy()
    notes["velocity"] = 80 + round(20 * strength)
    return dataclasses.replace(song, notes=notes)


@pytest.fixture
def expression(home, monkeypatch):
    """A bundled model of expression: its card alone, for what it plays is not tested here."""
    folder = home / "bundled" / "touch"
    folder.mkdir(parents=True)
    card = {"model": {"arrangement": "expression"}, "title": "A pianist's touch"}
    (folder / "card.json").write_text(json.dumps(card))
    module = sys.modules.get("deepmusician.expression") or types.ModuleType("deepmusician.expression")
    monkeypatch.setattr(module, "humanise", louder, raising=False)
    monkeypatch.setitem(sys.modules, "deepmusician.expression", module)


def test_a_model_of_expression_is_not_offered_for_composing(expression):
    assert "no trained model yet" in texts(open_page(COMPOSE).info)
    assert "No trained model is here yet" in texts(open_page().info)


def test_without_a_model_of_expression_its_recipe_is_named(trained):
    app = compose(open_page(COMPOSE))
    well(by_label(app.toggle, "Humanise").set_value(True).run())
    assert "recipe “Expression: velocities for a flat piece” makes one" in texts(app.info)


@pytest.fixture
def played(monkeypatch):
    """The songs that players were given."""
    songs = []
    for place in ("ui.composed.player", "ui.humanise_form.player"):
        monkeypatch.setattr(place, lambda song, name, *a, **k: songs.append((song, name)))
    return songs


def test_a_composed_piece_is_humanised_as_strongly_as_is_wanted(trained, expression, played):
    app = compose(open_page(COMPOSE))
    well(by_label(app.toggle, "Humanise").set_value(True).run())
    assert by_label(app.selectbox, "Model of expression").options == ["A pianist's touch"]
    well(by_label(app.slider, "Strength").set_value(0.5).run())
    plain, full, half = ({*song.notes["velocity"].tolist()} for song, _ in played[-3:])
    assert (plain, full, half) == ({80}, {100}, {90})
    assert played[-1][1] == "run-small-0-humanised"


def test_a_piece_of_ones_own_is_humanised(expression, played):
    app = open_page(COMPOSE)
    well(by_key(app.get("button_group"), "compose.task").set_value("Humanise a piece").run())
    assert "Choose a piece" in texts(app.info)
    by_label(app.file_uploader, "The piece").set_value(("mine.mid", write_midi(scale_song(60)), MIDI))
    well(app.run())
    ((song, _),) = played
    assert song.notes["pitch"].tolist() == scale_song(60).notes["pitch"].tolist()
    assert {*song.notes["velocity"].tolist()} == {100}


def test_a_run_of_expression_shows_what_it_has_and_leads_to_humanising(expression):
    keep_tunes()
    options = TrainOptions(path="tunes", arrangement="expression", planes="velocity", skip=True, **TINY)
    run = new_run(options, "touch")
    run.write_status(Status("finished", epoch=1, n_epochs=1))
    run.write_metrics([{"epoch": 1, "train": {"loss": 9.0, "nll": 9.0}, "valid": {"loss": 8.0, "nll": 8.5}}])
    folder = run.path / "checkpoints" / "best"
    folder.mkdir(parents=True)
    (folder / "card.json").write_text(json.dumps({"model": {"arrangement": "expression"}}))
    app = open_page(TRAIN, run="touch")
    assert {m.label: m.value for m in app.metric} == {"Surprise": "8.50"}
    assert "Loss and surprise over 1 epoch" in picture(app)
    well(by_label(app.button, "Humanise with it").click().run())
    assert by_key(app.get("button_group"), "compose.task").value == "Humanise a piece"
    assert by_label(app.selectbox, "Model of expression").value == "run-touch"


# ---- what can be done with a composed piece


def press(app, key):
    return well(by_key(app.button, key).click().run())


def test_moving_the_density_composes_at_once_with_the_same_seed(trained):
    app = compose(open_page(COMPOSE))
    before = request_of(app)
    well(by_key(app.select_slider, "compose.fullness").set_value(4.0).run())
    assert request_of(app) == before.but(fullness=4.0)
    assert [p.request for p in history.history()] == [request_of(app)]  # it took the place of the other one


def test_four_variations_stand_side_by_side_and_one_is_kept(trained):
    app = open_page(COMPOSE)
    by_key(app.get("button_group"), "compose.variations").set_value(4)
    compose(app)
    assert sorted(p.request.seed for p in history.history()) == [0, 1, 2, 3]
    press(app, "compose.keep.2")
    assert request_of(app).options["variations"] == 1 and request_of(app).seed == 2
    assert by_key(app.number_input, "compose.seed").value == 2
    assert len(history.history()) == 4  # it was there already
    alone = open_page(COMPOSE)
    by_key(alone.number_input, "compose.seed").set_value(2)
    assert write_midi(composed(compose(alone))) == write_midi(composed(app))


def test_a_composed_piece_is_continued_and_stays_in_front(trained):
    app = compose(open_page(COMPOSE))
    before = composed(app)
    press(app, "compose.continue")
    after = composed(app)
    assert after.notes[: len(before)].tolist() == before.notes.tolist() and len(after) > len(before)


def test_bars_of_a_composed_piece_are_rewritten_and_again_differently(trained):
    app = compose(open_page(COMPOSE))
    before = composed(app)
    press(app, "compose.rewrite")
    first = composed(app)
    outside = [n[(n["onset"] + n["duration"] <= 16) | (n["onset"] >= 32)] for n in (before.notes, first.notes)]
    assert set(map(tuple, outside[0].tolist())) <= set(map(tuple, outside[1].tolist())) | {
        tuple(row) for row in first.notes.tolist()
    }
    assert write_midi(first) != write_midi(before)


def test_notes_keep_to_the_scale_that_is_chosen(trained):
    app = open_page(COMPOSE)
    by_key(app.selectbox, "compose.scale").set_value("minor").run()
    by_key(app.selectbox, "compose.tonic").set_value("E♭")
    song = composed(compose(app))
    assert request_of(app).options["scale"] == "E♭ minor"
    assert {int(p) % 12 for p in song.notes["pitch"]} <= {3, 5, 6, 8, 10, 11, 1}


def test_a_link_makes_the_same_piece_and_shows_its_settings(trained):
    app = open_page(COMPOSE)
    by_key(app.number_input, "compose.seed").set_value(5)
    by_key(app.selectbox, "compose.scale").set_value("major")
    by_key(app.slider, "compose.bars").set_value(3)
    first = composed(compose(app))
    words = {k: v[0] if isinstance(v, list) else v for k, v in app.query_params.items()}
    other = open_page(COMPOSE, **words)
    assert write_midi(composed(other)) == write_midi(first)
    assert by_key(other.number_input, "compose.seed").value == 5 and by_key(other.slider, "compose.bars").value == 3
    assert by_key(other.selectbox, "compose.scale").value == "major"


def test_a_restored_piece_that_went_on_from_a_song_goes_on_from_it_again(trained, tmp_path):
    song = history.keep_song(scale_song(60))
    words = {"model": "run-small", "seed": "1", "init": "guided", "song": song, "seq_len": "32"}
    app = open_page(COMPOSE, **words)
    first = composed(app)
    assert by_label(app.get("button_group"), "Go on from").value == "a file of mine"
    assert "The piece that it went on from is still here" in texts(app.caption)
    assert write_midi(composed(compose(app))) == write_midi(first)
    assert request_of(app).song == song
    well(by_key(app.get("button_group"), "compose.task").set_value("History").run())
    assert "from a piece that was there" in texts(app.caption)


def test_the_scale_that_was_asked_for_is_the_one_that_is_measured(trained):
    assert "100% of the sounding time in E♭ minor" in texts(
        open_page(COMPOSE, model="run-small", seed="0", scale="E♭ minor", seq_len="64").caption
    )


def test_a_damaged_link_is_a_sentence(trained):
    assert "the link is damaged" in texts(open_page(COMPOSE, model="run-small", seed="x").error)


def test_the_history_shows_stars_deletes_brings_back_and_fills_the_form(trained):
    app = open_page(COMPOSE)
    well(by_key(app.get("button_group"), "compose.task").set_value("History").run())
    assert "Nothing has been composed yet" in texts(app.info)
    by_key(app.get("button_group"), "compose.task").set_value("Compose a piece").run()
    by_key(app.number_input, "compose.seed").set_value(8)
    compose(app)
    well(by_key(app.get("button_group"), "compose.task").set_value("History").run())
    (piece,) = history.history()
    press(app, f"history.star.{piece.id}")
    assert history.history()[0].starred
    press(app, f"Delete.{piece.id}")
    assert history.history() == []
    well(by_label(app.button, "Undo").click().run())
    assert [p.id for p in history.history()] == [piece.id]
    press(app, f"To the form.{piece.id}")
    assert by_key(app.number_input, "compose.seed").value == 8 and "seed 8" in texts(app.subheader)


def test_silence_is_said_in_words_with_its_remedy(trained):
    app = open_page(COMPOSE)
    by_key(app.get("button_group"), "compose.sampler").set_value("threshold").run()
    by_key(app.select_slider, "compose.threshold").set_value(0.99)
    compose(app)
    assert "threshold" in texts(app.warning)


def test_home_plays_a_piece_at_one_click_and_another_at_the_next(trained):
    app = open_page()
    button = app.button[0]
    assert button.label == "Play a piece after small (your training)"
    well(button.click().run())
    assert "seed 1" in texts(app.caption)
    well(app.button[0].click().run())
    assert "seed 2" in texts(app.caption)


# ---- what the controls offer


@pytest.mark.parametrize("kind", [TrainOptions, GenerateOptions])
def test_every_stop_of_every_slider_is_a_value_the_options_take(kind):
    for field in dataclasses.fields(kind):
        values = stops(field)
        if values is None:
            continue
        assert field.default in values
        for value in values:
            kind(**{field.name: value})


def test_every_training_option_belongs_to_a_group_that_the_page_shows():
    names = {f.name for g in ("basic", "loss", "music", "model", "training", "machine") for f in group(TrainOptions, g)}
    assert names == {f.name for f in dataclasses.fields(TrainOptions)}


def test_help_names_the_flag():
    fields = {f.name: f for f in dataclasses.fields(TrainOptions)}
    assert help_text(fields["gamma"]).endswith("On the command line: `-g`")
    assert help_text(fields["voices"]).endswith("On the command line: `--voices all|melody`")


def test_what_can_be_chosen_is_called_in_words_and_kept_as_the_command_line_calls_it():
    fields = {f.name: f for kind in (TrainOptions, GenerateOptions) for f in dataclasses.fields(kind)}
    for field in fields.values():
        choices = field.metadata["choices"] or ()
        assert all(said(field, choice) for choice in choices) and len({said(field, c) for c in choices}) == len(choices)
    assert said(fields["init"], "zero") == "from silence"
    assert said(fields["milestones"], "all") == "every epoch" and said(fields["voices"], "all") == "all notes"
    assert help_text(fields["hidden_size"]).endswith("`--hidden-size`")


# ---- sentences and descriptions


def test_the_ratio_said_about_the_focal_loss_is_that_of_its_formula():
    # a note given 0.1 keeps 0.75 * 0.9^2 of its cross-entropy, a silence the model is 0.95 sure of 0.25 * 0.05^2
    ratio = (0.75 * 0.9**2) / (0.25 * 0.05**2)
    assert ratio == pytest.approx(972)
    assert "**972 times**" in words.focal_sentence("focal", 0.75, 2.0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "not known yet"),
        (4.4, "4 s"),
        (200, "3 min 20 s"),
        (1200, "20 min"),
        (3900, "1 h 5 min"),
        (7200, "2 h"),
    ],
)
def test_a_time_left_is_said_as_people_say_it(seconds, text):
    assert words.duration(seconds) == text


def test_a_download_is_the_piece_that_is_shown(trained):
    from ui import cached

    song = composed(compose(open_page(COMPOSE)))
    again = read_midi(cached.midi(song))
    assert again.notes["pitch"].tolist() == song.notes["pitch"].tolist()
