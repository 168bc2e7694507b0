"""The doors in a real Chromium: a class, a sign-in by OpenID, whose things are whose; and names that would be code."""

import os
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import scale_song
from studio import CHROMIUM, free_port, studio, watched

from deepmusician import people, workspace
from deepmusician.library import save_data_set
from deepmusician.midi import write_midi
from deepmusician.notes import Song, Track
from deepmusician.options import TrainOptions
from deepmusician.runs import Status, new_run
from deepmusician.store import DataSet, Entry

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here: apt-get install chromium"),
]
CODE, WORD = "seven-notes", "my own word"
IMAGE = "<img src=x onerror=alert(1)>"
MARKDOWN = r"![x](http://192.0.2.1/x.png) $\frac{1}{2}$ **bold** :red[red] `code`"


@contextmanager
def somebody(chromium):
    """A browser of somebody's own; fails where its page asks another host, says an error or opens a dialog."""
    context = chromium.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    page.set_default_timeout(30_000)
    outside, errors = watched(page)
    page.on("dialog", lambda dialog: (errors.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    yield page
    assert outside == [] and errors == []
    context.close()


def own(person, name):
    """Let that person have a data set and a run of that name."""
    with workspace.acting_in(workspace.person_folder(person.id)):
        save_data_set(DataSet(name, (Entry.of("a.mid", scale_song(60, 8)),)), name)
        new_run(TrainOptions(path=f"library:{name}"), name).write_status(Status("finished"))


def options(page, label):
    """What a control offers to choose from; nothing where it is not there."""
    if not (control := page.get_by_role("combobox", name=label, exact=True)).count():
        return []
    control.click()
    page.get_by_role("option").first.wait_for()
    found = page.get_by_role("option").all_inner_texts()
    page.keyboard.press("Escape")
    return found


def owned(page):
    """The data sets and the runs that somebody finds on the page Train, chosen already or to be chosen."""
    page.get_by_role("combobox", name="Learn from", exact=True).wait_for()
    chosen = page.get_by_test_id("stMultiSelect").filter(has_text="Learn from").inner_text().split("\n")
    music = [*chosen, *options(page, "Learn from")]
    runs = [name for name in options(page, "Training to show") if name != "A new training"]
    return [name.removesuffix(" (yours)") for name in music if name.endswith("(yours)")], runs


# ---- a class


@pytest.fixture(scope="module")
def classroom(tmp_path_factory):
    home = tmp_path_factory.mktemp("class") / "home"
    with studio(home, serve=["--class", f"--code={CODE}"]) as url:
        yield url, home


def come_in(page, name, word=WORD, code=CODE):
    for label, value in (("Code of the class", code), ("Your name", name), ("Your secret word", word)):
        page.get_by_label(label, exact=label != "Your secret word").fill(value)
    page.get_by_role("button", name="Come in").click()


def test_two_people_of_a_class_see_their_own_things_alone(classroom, chromium, monkeypatch):
    url, home = classroom
    monkeypatch.setenv("DEEPMUSICIAN_HOME", str(home))
    for name in ("Ann", "Ben"):
        own(people.enter(name, WORD, CODE, CODE), f"of {name}")
    with somebody(chromium) as ann, somebody(chromium) as ben:
        ann.goto(f"{url}/train?run=of+Ben"), ben.goto(f"{url}/train?run=of+Ann")
        come_in(ann, "Ann", word="a guess")
        ann.get_by_text("The name Ann is taken, and opens with another word").wait_for()
        for page, name, other in ((ann, "Ann", "Ben"), (ben, "Ben", "Ann")):
            assert page.get_by_role("link", name="Compose").count() == 0  # there is no menu at the door
            come_in(page, name.lower())
            page.get_by_text(f"There is no training called of {other}").wait_for()  # though the link is theirs
            assert owned(page) == ([f"of {name}"], [f"of {name}"])
        ann.get_by_role("button", name="Sign out").click()
        ann.get_by_label("Code of the class").wait_for()
        assert ann.get_by_text("of Ann").count() == 0


def test_names_of_files_and_tracks_are_shown_as_text(classroom, chromium, tmp_path):
    song = scale_song(60, 8)
    notes = song.notes.copy()
    notes["track"] = notes["pitch"] < 72
    write_midi(Song(notes, tracks=(Track(IMAGE), Track(MARKDOWN))), tmp_path / "song.mid")
    midi = (tmp_path / "song.mid").read_bytes()
    with somebody(chromium) as page:
        page.goto(f"{classroom[0]}/library")
        come_in(page, "Carol")
        bring(page, (f"{IMAGE}{MARKDOWN}.mid", b"no music"))
        page.get_by_test_id("stAlert").get_by_text(f"{IMAGE}{MARKDOWN}.mid could not be read").wait_for()
        bring(page, (f"{IMAGE}.mid", midi), (f"{MARKDOWN}.mid", midi))
        page.get_by_role("heading", name=f"{IMAGE}.mid", exact=True).wait_for()
        for track in (IMAGE, MARKDOWN):
            page.get_by_text(f"{track} · Acoustic Grand Piano").wait_for()
        page.get_by_text("near-duplicate").wait_for()  # which names both files
        page.locator(".dm").first.wait_for()
        assert page.locator('img[src="x"], img[src*="192.0.2.1"], .katex').count() == 0


def bring(page, *files):
    """Upload files; the form stands open where somebody has no music yet."""
    page.locator('input[type="file"]').set_input_files(
        [{"name": name, "mimeType": "audio/midi", "buffer": content} for name, content in files]
    )
    page.get_by_test_id("stFileChip").nth(len(files) - 1).wait_for()
    page.get_by_role("button", name="Add to the library").click()


# ---- a sign-in


def test_two_people_sign_in_by_openid_and_out_again(chromium, tmp_path, monkeypatch):
    pytest.importorskip("authlib", reason="signing in needs Authlib: pip install 'Authlib>=1.3.2,<2'")
    from provider import provider, secrets_toml

    home, port, cache = tmp_path / "home", free_port(), os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    monkeypatch.setenv("DEEPMUSICIAN_HOME", str(home))
    with provider() as known:
        secrets = tmp_path / ".streamlit" / "secrets.toml"
        secrets.parent.mkdir()
        secrets.write_text(secrets_toml(known.issuer, f"http://127.0.0.1:{port}"))
        for name in ("Ann", "Ben"):
            own(people.known_by(known.issuer, f"id-of-{name}", ""), f"of {name}")
        with (
            studio(home, serve=["--oidc"], port=port, HOME=str(tmp_path), XDG_CACHE_HOME=cache) as url,
            somebody(chromium) as ann,
            somebody(chromium) as ben,
        ):
            for page, name, other in ((ann, "Ann", "Ben"), (ben, "Ben", "Ann")):
                sign_in(page, f"{url}/train?run=of+{other}", name)
                page.get_by_text(f"There is no training called of {other}").wait_for()  # where the link led
                assert page.url.startswith(f"{url}/train?")
                assert owned(page) == ([f"of {name}"], [f"of {name}"])
                page.goto(url)  # still signed in, and led nowhere any more
                page.get_by_role("button", name="Sign out").wait_for()
                page.get_by_role("link", name="Library").first.wait_for()
                assert page.url in (url, f"{url}/")
            ann.get_by_role("button", name="Sign out").click()
            ann.get_by_role("button", name="Sign in").wait_for()
            ann.reload()  # and she stays out
            ann.get_by_role("button", name="Sign in").wait_for()
            assert known.ended == ["Ann"]
            sign_in(ann, url, "Ann")  # at the plain address: she finds Home, not where she was led before
            assert ann.url in (url, f"{url}/")


def sign_in(page, address, name):
    page.goto(address)
    page.get_by_role("button", name="Sign in").wait_for()
    assert page.get_by_role("link", name="Compose").count() == 0  # there is no menu at the door
    page.get_by_role("button", name="Sign in").click()
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Sign out").wait_for()
    page.get_by_test_id("stCaptionContainer").get_by_text(name).wait_for()
