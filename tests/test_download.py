"""Downloads from a server that breaks off, lies, forgets, redirects and fills the disk."""

import hashlib
from collections import namedtuple

import pytest
from web import served

from deepmusician import download as downloading
from deepmusician.download import Remote, download
from deepmusician.errors import DiskFullError, LibraryError

CONTENT = bytes(range(256)) * 40  # 10,240 bytes, each place of which can be told
SHA = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
TAG = '"one"'
MOST = 1_000_000


def got(address, folder, most=MOST, slept=None, watch=lambda done, total: None, **of):
    remote = Remote(f"{address}/music.zip", **of)
    return download(remote, folder, most, watch, (slept if slept is not None else []).append)


def test_a_file_comes_whole_and_leaves_nothing_beside_it(tmp_path):
    seen = []
    with served(lambda asked: asked.file(CONTENT)) as (address, _):
        path = got(address, tmp_path, bytes=len(CONTENT), hash=SHA, watch=lambda *at: seen.append(at))
    assert path.read_bytes() == CONTENT
    assert [file.name for file in tmp_path.iterdir()] == ["music.zip"]
    assert seen[-1] == (len(CONTENT), len(CONTENT))


def test_one_that_is_there_is_not_asked_for_again(tmp_path):
    (tmp_path / "music.zip").write_bytes(CONTENT)
    with served(lambda asked: asked.file(CONTENT)) as (address, asked):
        got(address, tmp_path, hash=SHA)
    assert asked == []


def test_it_goes_on_where_the_connection_broke_and_waits_longer_each_time(tmp_path):
    slept = []
    with served(lambda asked: asked.file(CONTENT, cut=3000, ETag=TAG)) as (address, asked):
        assert got(address, tmp_path, slept=slept).read_bytes() == CONTENT
    assert [each.headers.get("Range") for each in asked] == [None, "bytes=3000-", "bytes=6000-", "bytes=9000-"]
    assert [each.headers.get("If-Range") for each in asked] == [None, TAG, TAG, TAG]
    assert slept == [2.0, 2.0, 2.0]  # something came in between


def test_a_later_call_goes_on_with_what_an_earlier_one_had(tmp_path):
    state = {"cut": True}

    def respond(asked):
        if state["cut"]:
            asked.file(CONTENT, cut=4000 if not asked.headers.get("Range") else 0, ETag=TAG)
        else:
            asked.file(CONTENT, ETag=TAG)

    with served(respond) as (address, asked):
        slept = []
        with pytest.raises(LibraryError, match=r"broke off 5 times in a row after 4,000 of 10,240 bytes.*go on"):
            got(address, tmp_path, slept=slept)
        assert slept == [2.0, 4.0, 8.0, 16.0]
        state["cut"] = False
        assert got(address, tmp_path).read_bytes() == CONTENT
    assert asked[-1].headers["Range"] == "bytes=4000-"


def test_a_server_that_cannot_begin_in_the_middle_is_asked_for_the_whole(tmp_path):
    cuts = iter([3000, None])
    with served(lambda asked: asked.answer(CONTENT, cut=next(cuts), ETag=TAG)) as (address, _):
        assert got(address, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("name, old, new", [("ETag", TAG, '"two"'), ("Last_Modified", "Mon", "Tue")])
def test_a_file_that_changed_meanwhile_is_begun_anew(tmp_path, name, old, new):
    other = CONTENT[::-1]
    answers = iter([(CONTENT, 3000, old), (other, None, new)])

    def respond(asked):
        content, cut, said = next(answers)
        asked.file(content, cut, **{name: said})

    with served(respond) as (address, _):
        assert got(address, tmp_path).read_bytes() == other


def test_a_server_that_goes_on_with_another_file_regardless_is_seen_through(tmp_path):
    other = CONTENT[::-1]
    answers = iter([(CONTENT, 3000, TAG), (other, None, '"two"'), (other, None, '"two"')])

    def respond(asked):
        content, cut, said = next(answers)
        start = int(asked.headers.get("Range", "bytes=0-")[6:-1])
        if not start:
            return asked.answer(content, cut=cut, ETag=said)
        return asked.answer(
            content[start:], 206, Content_Range=f"bytes {start}-{len(content) - 1}/{len(content)}", ETag=said
        )

    with served(respond) as (address, asked):
        assert got(address, tmp_path).read_bytes() == other
    assert len(asked) == 3


def test_without_a_sign_that_it_is_the_same_file_it_begins_anew(tmp_path):
    cuts = iter([3000, None])
    with served(lambda asked: asked.file(CONTENT, cut=next(cuts))) as (address, asked):
        assert got(address, tmp_path).read_bytes() == CONTENT
    assert [each.headers.get("Range") for each in asked] == [None, None]


def test_a_published_hash_is_sign_enough(tmp_path):
    cuts = iter([3000, None])
    with served(lambda asked: asked.file(CONTENT, cut=next(cuts))) as (address, asked):
        assert got(address, tmp_path, hash=SHA).read_bytes() == CONTENT
    assert asked[1].headers["Range"] == "bytes=3000-"


def test_a_part_that_is_the_whole_already_is_taken_as_it_is(tmp_path):
    with served(lambda asked: asked.file(CONTENT, ETag=TAG)) as (address, asked):
        (tmp_path / "music.zip.part").write_bytes(CONTENT)
        about = f'{{"url": "{address}/music.zip", "etag": "\\"one\\"", "modified": "", "total": {len(CONTENT)}}}'
        (tmp_path / "music.zip.part.json").write_text(about)
        assert got(address, tmp_path).read_bytes() == CONTENT
    assert len(asked) == 1


def test_a_wrong_checksum_is_told_and_nothing_is_kept(tmp_path):
    with (
        served(lambda asked: asked.file(CONTENT[::-1])) as (address, _),
        pytest.raises(LibraryError, match=r"music.zip is not the file that was published.*--from FILE"),
    ):
        got(address, tmp_path, hash=SHA)
    assert list(tmp_path.iterdir()) == []


def test_a_length_that_was_not_published_is_not_begun(tmp_path):
    with (
        served(lambda asked: asked.file(CONTENT)) as (address, _),
        pytest.raises(LibraryError, match="has 999 bytes as published, the server says 10,240"),
    ):
        got(address, tmp_path, bytes=999)


def test_one_without_a_length_ends_where_too_much_came(tmp_path):
    with (
        served(lambda asked: asked.answer(CONTENT, Content_Length=None)) as (address, _),
        pytest.raises(LibraryError, match=r"may have at most 0 MB, music.zip has 0 or more; set the limit fetch_mb"),
    ):
        got(address, tmp_path, most=5000)


def test_one_that_says_it_is_too_large_is_not_begun(tmp_path):
    with (
        served(lambda asked: asked.file(CONTENT)) as (address, _),
        pytest.raises(LibraryError, match="fetch_mb"),
    ):
        got(address, tmp_path, most=10_000)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_room_is_told_before_a_byte_is_written(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(downloading.shutil, "disk_usage", lambda place: usage(0, 0, 20_000))
    with (
        served(lambda asked: asked.file(CONTENT)) as (address, _),
        pytest.raises(DiskFullError, match=r"it takes 0 MB, 0 MB are free; free 1 MB"),
    ):
        got(address, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_room_for_what_is_here_already_is_not_asked_twice(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(downloading.shutil, "disk_usage", lambda place: usage(0, 0, 1_500))
    downloading.check_room(tmp_path, 1000, have=1000)  # 2.5 × 1000, of which 1000 are here
    with pytest.raises(DiskFullError):
        downloading.check_room(tmp_path, 1000, have=999)


def test_redirects_are_followed(tmp_path):
    def respond(asked):
        asked.file(CONTENT) if asked.path == "/there" else asked.answer(status=302, Location="/there")

    with served(respond) as (address, _):
        assert got(address, tmp_path).read_bytes() == CONTENT


def test_a_page_in_the_place_of_the_file_is_told(tmp_path):
    with (
        served(lambda asked: asked.answer(b"<html>", Content_Type="text/html; charset=utf-8")) as (address, _),
        pytest.raises(LibraryError, match=r"answers with a page rather than with music.zip; open it in a browser"),
    ):
        got(address, tmp_path)


def test_what_is_gone_is_told_at_once_and_what_is_busy_is_asked_again(tmp_path):
    with served(lambda asked: asked.answer(status=404)) as (address, asked), pytest.raises(LibraryError, match="404"):
        got(address, tmp_path)
    assert len(asked) == 1
    states = iter([503, 429])

    def respond(asked):
        status = next(states, 200)
        asked.answer(CONTENT if status == 200 else b"", status)

    with served(respond) as (address, asked):
        assert got(address, tmp_path).read_bytes() == CONTENT
    assert len(asked) == 3


def test_nobody_there_is_told_in_a_sentence(tmp_path):
    slept = []
    with pytest.raises(LibraryError, match=r"music\.zip cannot be reached: look whether this computer"):
        got("http://127.0.0.1:9", tmp_path, slept=slept)
    assert slept == [2.0, 4.0, 8.0, 16.0]
