"""Going through a site as a guest: what is asked, what is not, how often, and how it goes on."""

import json

import pytest
from web import served

from deepmusician.crawl import Crawled, Manners, crawl
from deepmusician.errors import LibraryError, OptionError

MIDI = b"MThd and so on"
ME = Manners("me@example.org")
PAGES = {
    "/music/": '<a href="nes/">NES</a> <a href="/about">no music</a> <a href="http://127.0.0.1:9/x.mid">elsewhere</a>',
    "/music/nes/": '<a href="one.mid">1</a> <a href="two.mid#there" download="Band - Two.mid">2</a> <a href="../"></a>'
    '<a href="gone.mid">3</a> <a href="list.zip">all</a> <a href="../secret/a.mid">4</a> <a rel="nofollow" '
    'href="n.mid">5</a>',
}


def site(robots=None, files=("one.mid", "two.mid"), pages=PAGES):
    def respond(asked):
        path = asked.path
        if path == "/robots.txt":
            return asked.answer((robots or "").encode(), 200 if robots is not None else 404)
        if path in pages:
            return asked.answer(pages[path].encode(), Content_Type="text/html")
        there = path.rpartition("/")[2] in files or path == "/music/secret/a.mid"
        return asked.answer(MIDI, Content_Type="audio/midi") if there else asked.answer(status=404)

    return respond


def walked(address, folder, slept=None, most=1000, manners=ME, **more):
    music = folder / "music"
    music.mkdir(exist_ok=True)
    sleep = (slept if slept is not None else []).append
    return crawl(f"{address}/music/", music, folder / "list.jsonl", manners, most, sleep=sleep, **more)


def kept(folder):
    return sorted(file.relative_to(folder / "music").as_posix() for file in folder.glob("music/**/*.mid"))


def test_every_file_that_pages_lead_to_is_kept_as_it_lies_there_or_as_its_link_calls_it(tmp_path):
    with served(site()) as (address, asked):
        assert walked(address, tmp_path) == Crawled(pages=2, files=3, missing=1, done=True)
    assert kept(tmp_path) == ["nes/Band - Two.mid", "nes/one.mid", "secret/a.mid"]
    assert [each.path for each in asked] == [
        "/robots.txt", "/music/", "/music/nes/", "/music/nes/one.mid", "/music/nes/two.mid", "/music/nes/gone.mid",
        "/music/secret/a.mid",
    ]  # fmt: skip


def test_one_request_at_a_time_each_after_a_pause_and_with_an_address_to_write_to(tmp_path):
    slept = []
    with served(site()) as (address, asked):
        walked(address, tmp_path, slept)
    assert slept == [2.0] * (len(asked) - 1)
    assert {each.headers["User-Agent"].partition(" ")[2] for each in asked} == {"(+me@example.org)"}
    assert all(each.headers["User-Agent"].startswith("deepmusician/") for each in asked)


@pytest.mark.parametrize("delay, pause", [("7", 7.0), ("2.5", 3.0), ("1", 2.0)])
def test_a_longer_pause_that_the_site_asks_for_is_made(tmp_path, delay, pause):
    slept = []
    with served(site(f"User-agent: *\nCrawl-delay: {delay}\n")) as (address, _):
        walked(address, tmp_path, slept, most_files=1)
    assert set(slept) == {pause}


def test_what_robots_txt_forbids_is_not_asked_for(tmp_path):
    with served(site("User-agent: *\nDisallow: /music/secret/\n")) as (address, asked):
        walked(address, tmp_path)
    assert kept(tmp_path) == ["nes/Band - Two.mid", "nes/one.mid"]
    assert not any("secret" in each.path for each in asked)


@pytest.mark.parametrize("robots", ["User-agent: *\nDisallow: /\n", "User-agent: deepmusician\nDisallow: /music\n"])
def test_a_site_that_forbids_it_is_left_alone(tmp_path, robots):
    with served(site(robots)) as (address, asked), pytest.raises(LibraryError, match=r"robots.txt forbids"):
        walked(address, tmp_path)
    assert [each.path for each in asked] == ["/robots.txt"]


@pytest.mark.parametrize("status, said", [(403, "robots.txt forbids"), (500, "cannot be read")])
def test_a_robots_txt_that_is_not_given_forbids_everything(tmp_path, status, said):
    with (
        served(lambda asked: asked.answer(status=status)) as (address, asked),
        pytest.raises(LibraryError, match=said),
    ):
        walked(address, tmp_path)
    assert {each.path for each in asked} == {"/robots.txt"}


def test_a_second_call_goes_on_where_the_first_ended(tmp_path):
    with served(site()) as (address, asked):
        assert walked(address, tmp_path, most_files=1) == Crawled(2, 1, 0, done=False)
        with (tmp_path / "list.jsonl").open("a") as file:
            file.write('{"done": "cut o')  # a kill while it was written
        asked.clear()
        assert walked(address, tmp_path) == Crawled(2, 3, 1, done=True)
        assert "/music/nes/one.mid" not in [each.path for each in asked]
        assert "/music/" not in [each.path for each in asked]
        asked.clear()
        walked(address, tmp_path)
    assert [each.path for each in asked] == ["/robots.txt"]
    assert all(json.loads(line) for line in (tmp_path / "list.jsonl").read_text().splitlines())


def test_two_files_of_one_name_are_both_kept(tmp_path):
    pages = {"/music/": '<a href="a/one.mid" download="Same.mid"></a><a href="a/two.mid" download="same.mid"></a>'}
    with served(site(pages=pages)) as (address, _):
        walked(address, tmp_path)
    assert kept(tmp_path) == ["a/Same.mid", "a/same (2).mid"]


def test_no_name_leads_out_of_the_folder(tmp_path):
    pages = {"/music/": '<a href="/x/%2e%2e/%2e%2e/one.mid"></a><a href="two.mid" download="../../../up.mid"></a>'}
    with served(site(pages=pages)) as (address, _):
        walked(address, tmp_path)
    assert len(kept(tmp_path)) == 2
    assert not list(tmp_path.glob("*.mid")) and not list(tmp_path.parent.glob("*.mid"))


def test_too_large_a_file_is_left(tmp_path):
    with served(site()) as (address, _):
        assert walked(address, tmp_path, most=5) == Crawled(2, 0, 4, done=True)


def test_a_site_that_is_busy_is_waited_for_as_long_as_it_says_then_left(tmp_path):
    slept = []

    def respond(asked):
        asked.answer(status=404) if asked.path == "/robots.txt" else asked.answer(status=429, Retry_After="33")

    with served(respond) as (address, asked), pytest.raises(LibraryError, match=r"answers 429.*later to go on"):
        walked(address, tmp_path, slept)
    assert slept == [2.0, 33.0, 2.0, 33.0, 2.0]
    assert len(asked) == 4


def test_one_broken_address_does_not_end_it_and_is_asked_again_by_the_next_call(tmp_path):
    state = {"broken": True}
    good = site()

    def respond(asked):
        asked.answer(status=500) if asked.path.endswith("/one.mid") and state["broken"] else good(asked)

    with served(respond) as (address, _):
        assert walked(address, tmp_path) == Crawled(2, 2, 1, done=False)
        state["broken"] = False
        assert walked(address, tmp_path) == Crawled(2, 3, 1, done=True)


def test_redirects_within_the_site_are_followed_and_none_out_of_it(tmp_path):
    good = site(pages={"/music/": '<a href="old"></a><a href="out.mid"></a>', "/music/new/": '<a href="one.mid"></a>'})

    def respond(asked):
        if asked.path == "/music/old":
            return asked.answer(status=301, Location="/music/new/")
        if asked.path.endswith("out.mid"):
            return asked.answer(status=302, Location="http://127.0.0.1:9/one.mid")
        return good(asked)

    with served(respond) as (address, _):
        assert walked(address, tmp_path) == Crawled(2, 1, 1, done=True)
    assert kept(tmp_path) == ["new/one.mid"]


@pytest.mark.parametrize("contact", ["", "me", "a b@example.org", "me@example.org\r\nCookie: x", "(me@example.org)"])
def test_nobody_goes_without_an_address(contact):
    with pytest.raises(OptionError, match="--contact must be an address"):
        Manners(contact)


@pytest.mark.parametrize("pause", [0, 0.99, float("nan"), -1])
def test_no_pause_is_shorter_than_a_second(pause):
    with pytest.raises(OptionError, match="at least 1 second"):
        Manners("https://example.org/me", pause)
