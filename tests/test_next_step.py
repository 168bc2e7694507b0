"""The way through the studio: each page offers the step that follows it, and links lead to what was shown."""

from test_app import by_key, open_page, own_workspace, texts, trained, trained_home, warm_server, well  # noqa: F401  fixtures

from ui import next_step
from ui.router import COMPOSE, HOME, HOW, JUDGE, LIBRARY, TRAIN


def offers(app):
    return [link.label for link in app.get("page_link")]


def test_each_page_is_followed_by_the_next_one():
    titles = [step.title for step in next_step.way()]
    assert titles[:4] == ["Upload", "Look", "Train", "Compose"]
    assert [next_step.after(page).page for page in (HOW, LIBRARY, TRAIN)] == [LIBRARY, TRAIN, COMPOSE]
    assert next_step.after(next_step.way()[-1].page).page == LIBRARY  # and round again


def test_home_shows_every_step_and_the_lessons():
    steps = [f"**{i}. {step.title}**" for i, step in enumerate(next_step.way(), 1)]
    links = offers(open_page(HOME))
    assert [link for link in links if link in steps] == steps
    assert "How does it work? Five short lessons" in links


def test_a_page_ends_with_its_next_step(trained):  # noqa: F811
    for page, query in ((TRAIN, {}), (TRAIN, {"run": "small"}), (COMPOSE, {}), (JUDGE, {})):
        assert offers(open_page(page, **query))[-1] == f"**Next:** {next_step.after(page).offer}"


def test_the_last_lesson_leads_to_the_library():
    assert offers(open_page(HOW, lesson="Temperature"))[-1] == "**Next:** bring music of your own, or pick a corpus"


def test_a_link_to_a_piece_on_home_shows_that_piece(trained):  # noqa: F811
    app = open_page(HOME, piece="run-small", seed="7")
    assert "seed 7" in texts(app.caption)
    well(by_key(app.button, "home.run-small").click().run())
    assert "seed 8" in texts(app.caption)
    assert app.query_params["seed"] == ["8"] or app.query_params["seed"] == "8"


def test_a_link_that_names_no_seed_shows_no_piece(trained):  # noqa: F811
    for seed in ("", "x", "-1", "9" * 30):
        assert "seed" not in texts(open_page(HOME, piece="run-small", seed=seed).caption)
