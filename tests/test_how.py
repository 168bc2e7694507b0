"""How it works, run from app.py without a browser: each lesson moves, says true numbers, and is in the address."""

import re

import pytest
from test_app import (  # noqa: F401  fixtures
    by_key,
    by_label,
    keep_tunes,
    open_page,
    own_workspace,
    picture,
    texts,
    trained,
    trained_home,
    warm_server,
    well,
)

from ui.lessons import chorale
from ui.router import HOW

LESSONS = ("Piano roll", "Silence", "Focal loss", "Teacher forcing", "Temperature")


def lesson(name, **query):
    app = open_page(HOW, lesson=name, **query)
    assert not app.error, texts(app.error)
    return app


def test_the_lessons_follow_one_another():
    app = open_page(HOW)
    for i, name in enumerate(LESSONS):
        assert by_key(app.get("button_group"), "lesson").value == name
        assert app.subheader[0].value.startswith(f"{i + 1}. ")
        if i + 1 < len(LESSONS):
            well(by_label(app.button, f"Next: {LESSONS[i + 1]}").click().run())
    assert not [b for b in app.button if b.label.startswith("Next: ")]


def test_a_longer_frame_makes_fewer_of_them_and_loses_notes():
    app = lesson("Piano roll")
    before = picture(app)
    assert "**96 frames of 88 keys**" in texts(app.markdown)  # 48 beats of two quavers
    app = well(by_key(app.select_slider, "frame").set_value("1/4").run())
    assert "**48 frames of 88 keys**" in texts(app.markdown)
    assert picture(app) != before
    kept = [int(n) for n in re.findall(r"\*\*(\d+) come back\*\*", texts(app.markdown))]
    assert kept and kept[0] < len(chorale())


def test_what_is_shown_is_in_the_address():
    app = lesson("Silence", frame="1/4, crotchet", guess="5.0%")
    assert by_key(app.select_slider, "frame").value == "1/4"
    assert "Saying 5.0% of every key" in texts(app.markdown)


def test_ones_own_music_can_be_looked_at():
    keep_tunes("mine")
    app = lesson("Silence")
    well(by_key(app.get("button_group"), "music").set_value("my music").run())
    assert by_key(app.selectbox, "set").value == "mine"
    assert "of the cells sound" in texts(app.markdown)


def test_the_focal_loss_moves_with_its_sliders():
    app = lesson("Focal loss")
    before = picture(app), texts(app.markdown)
    app = well(by_key(app.slider, "gamma").set_value(0.0).run())
    assert picture(app) != before[0] and texts(app.markdown) != before[1]
    app = well(by_key(app.slider, "truth").set_value(0.5).run())
    assert "cross-entropy 0.6931" in texts(app.markdown)  # log 2
    assert "**0.5199** for a key that sounds" in texts(app.markdown)  # 0.75 log 2


@pytest.mark.parametrize("name", ["Teacher forcing", "Temperature"])
def test_without_a_model_a_lesson_says_what_to_do(name):
    app = lesson(name)
    assert "This needs a trained model" in texts(app.info)
    assert "Train a model" in [link.label for link in app.get("page_link")]


def test_the_teacher_stays_as_long_as_one_lets_it(trained):  # noqa: F811
    app = lesson("Teacher forcing", told="1.5")
    assert "After beat 1.5" in texts(app.markdown)
    before = picture(app)
    stays = by_key(app.slider, "told")
    app = well(stays.set_value(stays.max).run())
    assert "After beat" not in texts(app.markdown) and picture(app) != before


def test_temperature_changes_what_comes_next_and_the_music(trained):  # noqa: F811
    app = lesson("Temperature", heat="1.0")
    said = re.search(r"\*\*(\d+) different chords\*\* \(at 1: (\d+)\)", texts(app.markdown))
    assert said[1] == said[2]
    before = picture(app)
    app = well(by_key(app.slider, "heat").set_value(0.1).run())
    assert picture(app) != before
    assert "Four bars, drawn at temperature 0.1" in texts(app.markdown)
