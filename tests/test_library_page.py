"""The Library as a musician uses it: every file and track with its verdict, one click to decide otherwise, and undo."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import scale_song
from test_app import LIBRARY, TRAIN, by_key, by_label, open_page, own_workspace, texts, upload, warm_server, well  # noqa: F401

from deepmusician.decisions import Choice
from deepmusician.library import list_data_sets, load_data_set, read_source, save_data_set
from deepmusician.midi import write_midi
from deepmusician.notes import NOTE, Song, Touched, Track
from deepmusician.options import TrainOptions
from deepmusician.parcels import export_data_set
from deepmusician.runs import new_run
from deepmusician.shelf import decide, list_deleted, load_decisions
from deepmusician.store import DataSet, Entry


def band(start=60):
    """Two hands and drums, eight silent beats before the hands, and a note below the keyboard."""
    hands = scale_song(start).notes.copy()
    hands["onset"] += 8
    hands["track"] = hands["pitch"] < start + 12  # the chords are the left hand
    extra = np.array([(0, 1, 36, 90, 0, 1, 2), (9, 1, 10, 90, 0, 0, 1)], NOTE)
    return Song(np.concatenate([hands, extra]), tracks=(Track("Right"), Track("Left"), Track("Kit", 0, True)))


def keep(*songs, name="mine", refused=()):
    entries = [Entry.of(f"{i}.mid", song) for i, song in enumerate(songs)]
    save_data_set(DataSet(name, (*entries, *(Entry.refused(label, "it is not MIDI") for label in refused))), name)


def click(app, label):
    return well(by_label(app.button, label).click().run())


def switch(app, begin, on):
    toggle = next(t for t in app.toggle if t.label.startswith(begin))
    return well(toggle.set_value(on).run())


def choice(label="0.mid", name="mine"):
    return load_decisions(name).of(label)


def metric(app, label):
    found = by_label(app.metric, label)
    return found.value, found.delta


# ---- findings


@pytest.mark.parametrize(
    ("remedy", "decided", "what"),
    [
        ("Drop the drums", Choice(no_drums=True), "dropped the drums of 0.mid"),
        ("Trim the silence", Choice(trim=True), "trimmed 0.mid"),
        ("Transpose into range", Choice(fit=True), "transposed 0.mid into range"),
    ],
)
def test_one_click_decides_what_helps_and_one_takes_it_back(remedy, decided, what):
    keep(band(), scale_song(50))
    app = open_page(LIBRARY, data="mine")
    notes = metric(app, "Notes")
    click(app, remedy)
    assert choice() == decided and choice("1.mid") == Choice()
    assert remedy not in [b.label for b in app.button]
    click(app, f"Undo: {what}")
    assert choice() == Choice() and metric(app, "Notes") == notes
    assert remedy in [b.label for b in app.button]


def test_copies_are_named_and_left_out_with_one_click():
    keep(scale_song(50), scale_song(53), Song.from_notes([(i, 1, 60 + i * i % 17) for i in range(40)]))
    app = open_page(LIBRARY, data="mine")
    assert "`1.mid` is the same as `0.mid`, 3 semitones higher" in texts(app.markdown)
    assert app.dataframe[0].value["why"].tolist() == ["", "nearly the same as 0.mid", ""]
    click(app, "Leave out the copy")
    assert load_data_set("mine").names == ("0.mid", "2.mid")
    assert metric(app, "Files") == ("2", "of 3")


def test_where_one_dominates_training_in_balance_is_one_click_away():
    long = Song.from_notes([(i, 1, 40 + i * i % 41) for i in range(600)])
    keep(long, *[Song.from_notes([(i, 1, 50 + i * k % 13) for i in range(40)]) for k in (3, 5, 7, 11, 17)])
    decide("mine", "pinned", {"0.mid": Choice(side="training")})
    app = open_page(LIBRARY, data="mine")
    assert "`0.mid` makes up" in texts(app.markdown)
    click(app, "Train with songs in balance")
    assert by_key(app.slider, "train.balance").value == 1.0
    assert by_key(app.multiselect, "train.data").value == ["mine"]


def test_everything_can_be_taken_back_at_once_and_that_be_undone():
    keep(band(), scale_song(50))
    decide("mine", "left out", {"1.mid": Choice(out=True)})
    decide("mine", "trimmed", {"0.mid": Choice(trim=True)})
    app = open_page(LIBRARY, data="mine")
    click(app, "Everything as it was read")
    assert load_decisions("mine").choices == {}
    click(app, "Undo: took everything back")
    assert load_data_set("mine").names == ("0.mid",) and choice().trim


# ---- files and tracks


def test_every_file_stands_in_the_table_with_verdict_reason_and_what_it_is():
    keep(scale_song(50), band(), refused=["bad.mid"])
    app = open_page(LIBRARY, data="mine")
    table = app.dataframe[0].value.set_index("piece")
    assert table["verdict"].to_dict() == {"bad.mid": "✕ Left out", "0.mid": "✓ Kept", "1.mid": "✎ Changed"}
    assert table.loc["bad.mid", "why"] == "it could not be read: it is not MIDI"
    one = table.loc["0.mid"]
    assert (one["key"], one["meter"], one["range"], one["tempo"]) == ("≈ D major", "4/4", "D3–D5", 120)
    assert one["density"] == pytest.approx(88 / 32) and one["polyphony"] == pytest.approx(4.0)
    assert sorted(table["side"].dropna()) == ["Held out", "Training"]
    assert table["share"].sum() == pytest.approx(100)


def test_all_files_are_told_of_in_one_sentence_whether_they_differ_or_not():
    keep(scale_song(50), scale_song(51))
    said = texts(open_page(LIBRARY, data="mine").markdown)
    assert "(1)" in said and "**Meters:** 4/4 (2). **Tempo:** 120 beats a minute. **Range:**" in said
    keep(scale_song(50), scale_song(51).with_tempo(60), name="two")
    said = texts(open_page(LIBRARY, data="two").markdown)
    assert "**Tempo:** 60 to 120 beats a minute, half of it above 90." in said
    keep(scale_song(50), name="one")
    assert "**Keys:** D major. **Meters:** 4/4." in texts(open_page(LIBRARY, data="one").markdown)


def test_the_table_can_be_narrowed_to_a_verdict():
    keep(scale_song(50), scale_song(51), refused=["bad.mid"])
    app = open_page(LIBRARY, data="mine")
    well(by_key(app.get("button_group"), "doctor.shown").set_value("left out").run())
    assert app.dataframe[0].value["piece"].tolist() == ["bad.mid"]


def test_a_hand_is_left_out_and_taken_in_again_with_one_click_each():
    keep(band(), scale_song(50))
    app = open_page(LIBRARY, data="mine", piece="0.mid")
    assert next(t for t in app.toggle if t.label.startswith("**Kit**")).label.endswith(
        ":red[left out: drums have no pitch: heard, not learnt]"
    )
    switch(app, "**Left**", False)
    assert choice().mute == (1,) and ":red[left out: you left it out]" in " ".join(t.label for t in app.toggle)
    assert 1 not in load_data_set("mine").songs[0].notes["track"]
    switch(app, "**Left**", True)
    assert choice() == Choice()


def test_a_file_is_left_out_and_taken_in_again_with_one_click_each():
    keep(band(), scale_song(50))
    app = open_page(LIBRARY, data="mine", piece="1.mid")
    switch(app, "Use this file", False)
    assert load_data_set("mine").names == ("0.mid",)
    assert "**Left out.**" in texts(app.markdown)
    switch(app, "Use this file", True)
    assert load_data_set("mine").names == ("0.mid", "1.mid")


def test_a_switch_that_would_change_nothing_is_grey_and_says_why():
    keep(scale_song(50), scale_song(51))
    app = open_page(LIBRARY, data="mine")
    idle = [t.label for t in app.toggle if t.disabled]
    assert idle == ["Drop the drums (it has none)", "Trim the silence (there is none)",
                    "Transpose into range (every note is on the 88 keys)"]  # fmt: skip


def test_undoing_moves_the_switches_too():
    keep(band(), scale_song(50))
    app = open_page(LIBRARY, data="mine", piece="0.mid")
    switch(app, "Trim the silence", True)
    click(app, "Undo: trimmed 0.mid")
    assert not next(t for t in app.toggle if t.label == "Trim the silence").value


def test_a_file_that_could_not_be_read_says_why_and_what_to_do():
    keep(scale_song(50), refused=["bad.mid"])
    app = open_page(LIBRARY, data="mine", piece="bad.mid")
    assert "It could not be read: it is not MIDI" in texts(app.markdown).replace("\\", "")
    assert "Mend the file or choose another" in texts(app.info)


def test_a_file_is_heard_as_learnt_as_read_or_track_by_track():
    keep(band(), scale_song(50))
    app = open_page(LIBRARY, data="mine", piece="0.mid")
    forms = by_label(app.selectbox, "Hear it")
    assert forms.options == ["as it is learnt", "as it was read", "track 1 Right", "track 2 Left", "track 3 Kit"]
    for form in forms.options:
        well(by_label(app.selectbox, "Hear it").set_value(form).run())


# ---- the split


def test_a_song_is_pinned_beside_its_player_or_in_the_list_of_all():
    keep(*[Song.from_notes([(i, 1, 50 + i * k % 13) for i in range(40)]) for k in (3, 5, 7, 11)])
    app = open_page(LIBRARY, data="mine", piece="2.mid")
    held = by_label(app.multiselect, "Held out").value
    assert len(held) == 1
    well(by_label(app.get("button_group"), "Side of the split").set_value("held out").run())
    assert choice("2.mid").side == "held out" and "2.mid" in by_label(app.multiselect, "Held out").value
    well(by_label(app.multiselect, "Held out").set_value(["0.mid"]).run())
    assert choice("0.mid").side == "held out" and choice("2.mid").side == "training"
    click(app, "Leave all to chance")
    assert by_label(app.multiselect, "Held out").value == held


def test_the_split_shown_is_kept_as_it_is_with_one_click():
    keep(scale_song(50), band(), Song.from_notes([(i, 1, 50 + i * 7 % 13) for i in range(40)]))
    app = open_page(LIBRARY, data="mine")
    held = by_label(app.multiselect, "Held out").value
    click(app, "Pin all as shown")
    assert {name for name, c in load_decisions("mine").choices.items() if c.side == "held out"} == set(held)
    assert len(load_decisions("mine").choices) == 3
    assert by_label(app.button, "Pin all as shown").disabled


def test_a_split_that_leaves_nothing_to_train_on_is_a_sentence_and_can_be_mended():
    keep(scale_song(50))
    decide("mine", "held out", {"0.mid": Choice(side="held out")})
    app = open_page(LIBRARY, data="mine")
    assert "none is left to train on" in texts(app.warning)
    click(app, "Leave all to chance")
    assert not app.warning


# ---- empty and broken states


def test_a_data_set_of_which_nothing_is_taken_in_says_what_to_do():
    keep(scale_song(50))
    decide("mine", "left out 0.mid", {"0.mid": Choice(out=True)})
    app = open_page(LIBRARY, data="mine")
    assert "**0 of 1 file is learnt from**" in texts(app.markdown)
    assert "take a file in below" in texts(app.info)
    assert not [b for b in app.button if b.label.startswith("Train on")]
    switch(app, "Use this file", True)
    assert [b for b in app.button if b.label == "Train on mine"]


def test_a_damaged_data_set_is_a_sentence_and_can_be_deleted(home):
    keep(scale_song(50))
    (home / "library" / "mine" / "notes.npy").write_bytes(b"x")
    app = open_page(LIBRARY, data="mine")
    assert "Data set mine is damaged" in texts(app.error)
    click(app, "Delete “mine”")
    assert list_data_sets() == [] and not app.error


def test_who_has_no_music_yet_trains_on_a_corpus_with_one_click_or_looks_at_it(monkeypatch):
    monkeypatch.setattr("deepmusician.corpora._convert", lambda *a: pytest.fail("nobody asked to wait"))
    app = click(open_page(LIBRARY), "Train on Bach: chorales")
    assert app.title[0].value == "Train" and by_label(app.button, "Start training")
    assert by_key(app.multiselect, "train.data").value == ["bach-chorales"]
    assert by_key(open_page(TRAIN).multiselect, "train.data").value == ["bach-chorales"]  # whichever way one came
    pieces = (Entry.of("a", scale_song(48)), Entry.of("b", scale_song(50)))
    monkeypatch.setattr("deepmusician.library.load_corpus_entries", lambda name, progress=None: pieces)
    app = open_page(LIBRARY)
    assert app.expander[0].proto.expanded
    click(app, "Look at Bach: chorales")
    assert "**2 of 2 files are learnt from**" in texts(app.markdown)
    assert app.query_params["data"] == "bach-chorales" and not app.expander[0].proto.expanded
    assert by_label(app.button, "Train on Bach: chorales")


# ---- data sets as a whole


def test_a_data_set_is_renamed_and_looked_at_under_its_new_name():
    keep(scale_song(50))
    app = open_page(LIBRARY, data="mine")
    by_key(app.text_input, "shelf.name.mine").set_value("ours")
    click(app, "Rename")
    assert list_data_sets() == ["ours"] and app.query_params["data"] == "ours"
    by_key(app.text_input, "shelf.name.ours").set_value("palestrina")
    click(app, "Rename")
    assert "palestrina is taken" in texts(app.error).lower()


def test_a_data_set_is_deleted_and_brought_back():
    keep(scale_song(50))
    new_run(TrainOptions(path="library:mine"), "of mine")
    app = open_page(LIBRARY, data="mine")
    assert "Learnt from by of mine" in texts(app.caption)
    click(app, "Delete “mine”")
    assert list_deleted() == ["mine"] and "“mine” is deleted" in texts(app.success)
    click(app, "Bring back “mine”")
    assert list_data_sets() == ["mine"] and app.query_params["data"] == "mine"


def test_an_exported_data_set_is_added_again_with_its_decisions():
    keep(band(), scale_song(50))
    decide("mine", "left out 1.mid", {"1.mid": Choice(out=True)})
    parcel = export_data_set("mine")
    app = upload(open_page(LIBRARY), [("mine.zip", parcel, "application/zip")])
    assert "1 piece kept as “mine 2”, with the decisions that came along" in texts(app.success)
    assert load_decisions("mine 2").choices == {"1.mid": Choice(out=True)}


def test_a_decision_about_a_corpus_makes_a_copy_that_is_shown(monkeypatch):
    pieces = (Entry.of("a", scale_song(48)), Entry.of("b", band()))
    monkeypatch.setattr("deepmusician.shelf.load_corpus_entries", lambda name: pieces)
    monkeypatch.setattr("deepmusician.library.load_corpus_entries", lambda name, progress=None: pieces)
    app = open_page(LIBRARY, data="airds")
    assert "This corpus is built in and stays as it is" in texts(app.caption)
    click(app, "Drop the drums")
    assert app.query_params["data"] == "my airds" and "a copy of your own" in texts(app.success)
    assert load_decisions("my airds").of("b") == Choice(no_drums=True)
    assert read_source("airds").names == ("a", "b") and read_source("airds").songs[1].notes["drum"].any()


def test_what_was_decided_is_what_composing_goes_on_from(home):
    from ui import cached

    keep(band(), scale_song(50))
    assert len(cached.data_set("mine").data.songs) == 2
    decide("mine", "left out 1.mid", {"1.mid": Choice(out=True)})
    assert cached.data_set("mine").data.names == ("0.mid",)


def test_a_name_full_of_signs_is_shown_as_it_is():
    label = "*a_b_ [x](y) $1$ :red[z].mid"
    save_data_set(DataSet("x", (Entry.of(label, band()), Entry.of("b.mid", scale_song(50)))), "signs")
    app = open_page(LIBRARY, data="signs", piece=label)
    assert app.subheader[1].value.replace("\\", "") == label
    assert f"`{label}`" in texts(app.markdown)


def test_midi_written_and_read_again_gives_the_verdicts_of_the_song():
    app = upload(open_page(LIBRARY), [("band.mid", write_midi(band()), "audio/midi")], "band")
    row = app.dataframe[0].value.iloc[0]
    assert row["verdict"] == "✎ Changed" and "1 note off the 88 keys is not learnt" in row["why"]


def test_what_reading_did_to_the_notes_is_told_of_all_files_and_of_each(home):
    mended = replace(scale_song(60), touched=Touched(dropped=2, closed=1), repairs=("two notes lie beyond its end",))
    keep(scale_song(48), mended)
    app = open_page(LIBRARY, data="mine", piece="1.mid")
    said = texts(app.caption)
    assert "Reading the files: 1 read, 1 repaired; 2 notes dropped, 1 note ended where the file does not say." in said
    assert "Reading it: 2 notes dropped, 1 note ended where the file does not say." in said
    assert "Reading it" not in texts(open_page(LIBRARY, data="mine", piece="0.mid").caption)


def test_a_large_data_set_is_shown_a_page_at_a_time_and_reads_no_notes(own_workspace, tmp_path, monkeypatch):  # noqa: F811
    from deepmusician import collected
    from deepmusician.ingest import ingest
    from ui import collected_view

    for i in range(7):
        write_midi(scale_song(40 + i, 16 + 4 * i), tmp_path / f"tune-{i}.mid")
    (tmp_path / "broken.mid").write_bytes(b"no music")
    ingest([tmp_path / file.name for file in tmp_path.glob("*.mid")], "large")
    app = well(open_page(LIBRARY, data="large"))
    assert any("tune-3.mid" in str(frame.value) for frame in app.dataframe)  # few pieces: as any other data set
    monkeypatch.setattr(collected_view, "MANY", 5)
    monkeypatch.setattr(collected_view, "PAGE", 3)
    monkeypatch.setattr(collected, "shard", lambda *_: pytest.fail("notes were read"))
    app = well(open_page(LIBRARY, data="large"))
    assert "**7 pieces** of 8 files learnt from" in texts(app.markdown)
    assert [*app.dataframe[0].value["piece"]] == ["broken.mid", "tune-0.mid", "tune-1.mid"]
    app = well(app.number_input[0].set_value(3).run())
    assert [*app.dataframe[0].value["piece"]] == ["tune-5.mid", "tune-6.mid"]
    app = well(next(t for t in app.text_input if t.label == "Name holds").set_value("TUNE-2").run())
    assert [*app.dataframe[0].value["piece"]] == ["tune-2.mid"]
    assert by_label(app.button, "Train on large")
