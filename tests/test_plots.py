"""Pictures: what is on the axes is what is in the music, in the units that the labels name."""

import io

import numpy as np
import pytest

from deepmusician import plots
from deepmusician.errors import OptionError
from deepmusician.notes import NOTE, Song, Track
from deepmusician.roll import to_roll

SONG = Song.from_notes([(0, 1, 60), (1, 2, 64), (4, 4, 67), (8, 1, 72)])  # C4, E4, G4, C5: three bars of 4/4


def history(epochs=3, held_out=True):
    def part(i):
        return {"loss": 1 / i, "nll": 10 / i, "density": 3.0, "data_density": 4.0, "f1": 0.5}

    return [{"epoch": i, "train": part(i), "valid": part(i) if held_out else None} for i in range(1, epochs + 1)]


def rectangles(ax):
    """Each note's (left, right, middle) as drawn."""
    collection = ax.collections[-1]
    return [(*path.get_extents().intervalx, path.vertices[:, 1][:4].mean()) for path in collection.get_paths()]


def drawn(music=SONG, **part):
    _, (ax,) = plots.new_figure(8, 3)
    return plots.plot_roll(music, ax, **part)


def test_a_note_lies_at_its_beat_and_pitch():
    left, right, pitch = rectangles(drawn())[1]
    assert left == 1 and pitch == 64
    assert right == pytest.approx(3, abs=0.05)  # a hair short of the next note


def test_axes_say_beats_bars_and_note_names():
    ax = drawn()
    assert ax.get_xlabel() == "time (beats)"
    assert [t.get_text() for t in ax.get_yticklabels()] == ["G3", "C4", "G4", "C5"]
    above = ax.child_axes[0]
    assert above.get_xlabel() == "bar"
    assert [t.get_text() for t in above.get_xticklabels()] == ["1", "2", "3"]
    assert list(above.get_xticks()) == [0, 4, 8]


def test_only_the_part_asked_for_is_drawn():
    ax = drawn(start_beats=4, end_beats=8)
    assert [pitch for *_, pitch in rectangles(ax)] == [67]
    assert ax.get_xlim() == (4, 8)
    assert [t.get_text() for t in ax.child_axes[0].get_xticklabels()] == ["2"]


def test_a_roll_is_drawn_as_its_song_is():
    def lines(ax):
        return [(round(left, 6), pitch) for left, _, pitch in rectangles(ax)]

    assert lines(drawn(to_roll(SONG))) == lines(drawn())


def test_louder_notes_are_stronger_and_tracks_have_colours_of_their_own():
    rows = [(0, 1, 60, 20, 0, False, 0), (0, 1, 64, 120, 0, False, 0), (0, 1, 67, 120, 0, False, 1)]
    song = Song(np.array(rows, NOTE), tracks=(Track(), Track()))
    quiet, loud, other = drawn(song).collections[-1].get_facecolors()
    assert quiet[3] < loud[3]
    assert tuple(loud[:3]) == tuple(quiet[:3]) != tuple(other[:3])


def test_drums_are_not_drawn_as_pitches():
    song = Song(np.array([(0, 1, 36, 90, 0, True, 0), (0, 1, 60, 90, 0, False, 0)], NOTE))
    assert [pitch for *_, pitch in rectangles(drawn(song))] == [60]


def test_a_song_without_notes_gives_empty_axes():
    assert rectangles(drawn(Song.from_notes([]))) == []


def test_a_part_that_ends_before_it_starts_is_refused():
    with pytest.raises(OptionError, match="start < end, got 8 to 4 beats"):
        drawn(start_beats=8, end_beats=4)


def test_many_bars_are_numbered_by_powers_of_two():
    long = Song.from_notes([(beat, 1, 60) for beat in range(0, 400)])
    numbers = [int(t.get_text()) for t in drawn(long).child_axes[0].get_xticklabels()]
    assert np.unique(np.diff(numbers)).tolist() == [8]


@pytest.mark.parametrize(("pitch", "name"), [(60, "C4"), (21, "A0"), (108, "C8"), (70, "B♭4"), (61, "C♯4")])
def test_pitches_have_their_names(pitch, name):
    assert plots.pitch_name(pitch) == name


def test_focal_curve_passes_through_the_formula():
    _, (ax,) = plots.new_figure(5, 3)
    plots.plot_focal(0.75, 2.0, ax)
    by_name = {line.get_label(): line for line in ax.get_lines()}
    for name, weight in (("focal, key that sounds", 0.75), ("focal, silent key", 0.25)):
        p, loss = by_name[name].get_data()
        assert loss == pytest.approx(-weight * (1 - p) ** 2 * np.log(p))
    p, loss = by_name["bce, every key"].get_data()
    assert loss == pytest.approx(-np.log(p))
    assert ax.get_ylabel() == "loss (nats a key)"


def test_bce_is_drawn_alone():
    _, (ax,) = plots.new_figure(5, 3)
    plots.plot_focal(0.75, 2.0, ax, loss="bce")
    assert [line.get_label() for line in ax.get_lines()] == ["bce, every key"]


def test_a_metric_is_drawn_for_training_and_held_out_songs():
    _, (ax,) = plots.new_figure(5, 3)
    plots.plot_metric(history(), "nll", ax, {"key frequencies alone": 8.0})
    train, valid, level = ax.get_lines()
    assert list(train.get_xdata()) == [1, 2, 3]
    assert valid.get_ydata() == pytest.approx([10, 5, 10 / 3])
    assert level.get_ydata()[0] == 8.0
    assert ax.get_xlabel() == "epoch"


def test_a_metric_nobody_measured_is_refused():
    _, (ax,) = plots.new_figure(5, 3)
    with pytest.raises(OptionError, match=r"metric must be one of loss, nll, .* got 'beauty'"):
        plots.plot_metric(history(), "beauty", ax)


def test_curves_show_baselines_that_are_numbers_and_the_songs_own_density():
    _, axes = plots.new_figure(11, 3, columns=3)
    baselines = {"repeat_last": {"f1": 0.3, "nll": 12.0}, "silence": {"f1": 0.0, "nll": np.inf}}
    plots.plot_loss_curves(history(), axes, baselines)
    labels = [[line.get_label() for line in ax.get_lines()] for ax in axes]
    assert labels[1] == ["training songs", "held-out songs", "repeat the last frame"]
    assert labels[2] == ["training songs", "held-out songs", "the songs themselves"]


def test_curves_do_without_held_out_songs():
    _, axes = plots.new_figure(11, 3, columns=3)
    plots.plot_loss_curves(history(held_out=False), axes)
    assert [line.get_label() for line in axes[0].get_lines()] == ["training songs"]


def test_curves_of_a_model_that_decides_no_keys_have_no_density():
    rows = [{"epoch": 1, "train": {"loss": 1.0, "nll": 2.0}, "valid": None}]
    assert plots.curve_names(rows) == ["loss", "nll"]
    assert plots.curve_names(history()) == ["loss", "nll", "density"]
    _, axes = plots.new_figure(8, 3, columns=2)
    assert [ax.get_title("left") for ax in plots.plot_loss_curves(rows, axes)] == ["loss", "surprise (nats a frame)"]


def test_attention_lies_at_its_beats_with_time_going_down():
    weights = np.full((8, 16), 1 / 16)
    weights[0] = np.eye(16)[3]
    _, (ax,) = plots.new_figure(6, 4)
    plots.plot_attention(weights, ax, begin=12, source=8, frame=0.25)
    (image,) = ax.get_images()
    assert (image.get_array() == weights).all()
    assert image.get_extent() == [8, 12, 14, 12]  # 16 frames looked at, 8 composed
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("looked at (beats)", "composed (beats)")
    assert ax.get_figure().axes[1].get_ylabel() == "of its attention"


@pytest.mark.parametrize("palette", [plots.LIGHT, plots.DARK])
def test_figures_are_see_through_and_their_letters_stand_out(palette):
    from matplotlib.colors import to_rgb
    from PIL import Image

    figure, (ax,) = plots.new_figure(4, 2, palette=palette)
    plots.plot_roll(SONG, ax, palette=palette)
    image = Image.open(io.BytesIO(plots.to_png(figure, dpi=100)))
    assert image.size == (400, 200)
    assert image.getpixel((0, 199))[3] == 0

    def luminance(colour):
        parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
        return float(np.dot(parts, [0.2126, 0.7152, 0.0722]))

    page = luminance("#fcfbf8" if palette is plots.LIGHT else "#14171c")
    for colour in (palette.ink, *palette.marks):
        bright, dim = sorted((luminance(colour), page), reverse=True)
        least = 4.5 if colour == palette.ink else 3.0  # WCAG 2: text, and marks
        assert (bright + 0.05) / (dim + 0.05) >= least, colour


def test_ten_thousand_notes_are_drawn_within_seconds():
    import time

    rng = np.random.default_rng(0)
    song = Song.from_notes(
        [(o, 0.25, p) for o, p in zip(np.arange(10_000) / 8, rng.integers(30, 90, 10_000), strict=True)]
    )
    began = time.monotonic()
    figure, (ax,) = plots.new_figure(11, 4)
    plots.plot_roll(song, ax)
    plots.to_png(figure)
    assert time.monotonic() - began < 5


def test_pitch_classes_are_drawn_as_shares_of_the_sounding_time():
    from deepmusician.charts import plot_pitch_classes

    _figure, (ax,) = plots.new_figure(4, 3)
    plot_pitch_classes([3, 0, 0, 0, 1, *[0] * 7], ax)
    assert [round(bar.get_height()) for bar in ax.patches[:5]] == [75, 0, 0, 0, 25]
    assert [t.get_text() for t in ax.get_xticklabels()][1] == "C♯" and "%" in ax.get_ylabel()


def test_density_is_drawn_over_the_beats_it_holds_for():
    from deepmusician.charts import plot_density

    _figure, (ax,) = plots.new_figure(4, 3)
    plot_density([0, 4, 8], [1.0, 3.0], ax)
    assert ax.get_xlim() == (0, 8) and ax.get_ylim()[1] >= 3
    assert ax.get_ylabel() == "notes a beat" and ax.get_xlabel() == "time (beats)"


def test_a_loss_sees_as_many_notes_as_its_formula_says():
    from deepmusician.lab_plots import note_share

    # under bce a note given 0.1 costs -ln 0.1, a silence believed by 95 % -ln 0.95; one cell in 25 sounds
    notes, silences = -np.log(0.1) / 25, -np.log(0.95) * 24 / 25
    assert note_share(0.04, "bce", 0.75, 2.0) == pytest.approx(notes / (notes + silences))
    notes, silences = 0.75 * 0.9**2 * notes, 0.25 * 0.05**2 * silences
    assert note_share(0.04, "focal", 0.75, 2.0) == pytest.approx(notes / (notes + silences))


def test_who_sounds_and_who_makes_up_the_loss_are_bars():
    from deepmusician.lab_plots import note_share, plot_balance

    _, (ax,) = plots.new_figure(5, 3)
    plot_balance(0.04, "focal", 0.75, 2.0, ax)
    notes = [bar.get_width() for bar in ax.patches[::2]][::-1]
    assert notes == pytest.approx([0.04, note_share(0.04, "bce", 0.75, 2), note_share(0.04, "focal", 0.75, 2)])
    assert "keys of this music: 4.0 % notes" in [t.get_text() for t in ax.texts]


def test_the_losses_of_a_lab_are_lines_of_one_picture():
    from deepmusician.lab_plots import plot_lab

    rows = {"loss": 1.0, "nll": 2.0, "rare_recall": 0.25, "data_density": 3.0}
    history = [{"epoch": i, "train": rows, "valid": rows, "composed": {"density": 2.5}} for i in (1, 2)]
    _, axes = plots.new_figure(11, 3, columns=3)
    plot_lab({"bce": history[:1], "focal": history}, axes)
    lines = [{line.get_label(): list(line.get_ydata()) for line in ax.get_lines()} for ax in axes]
    assert lines[0] == {"bce": [2.0], "focal": [2.0, 2.0]}
    assert lines[1]["focal"] == [0.25, 0.25]
    assert lines[2]["focal"] == [2.5, 2.5] and lines[2]["the songs themselves"] == [3.0, 3.0]
    held_out = [{**row, "valid": None} for row in history]
    _, axes = plots.new_figure(11, 3, columns=3)
    assert len(plot_lab({"bce": held_out}, axes)[0].get_lines()) == 1
