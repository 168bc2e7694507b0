"""Fetching a collection: told first, asked, downloaded from a server here, unpacked safely, ingested with styles."""

import hashlib
import io
import json
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from conftest import scale_song
from web import served

from deepmusician import cli, fetch
from deepmusician.collected import styles as styles_of
from deepmusician.download import Remote
from deepmusician.errors import LibraryError, OptionError
from deepmusician.fetch import Collection, bring, collection, list_collections, place_of, remotes_of
from deepmusician.limits import Limits
from deepmusician.midi import write_midi
from deepmusician.shelf import folder_of, load_data_set
from deepmusician.unpacking import unpack

NAMES = [
    "maestro", "classical-archives", "symbolic-music-data", "video-game-music", "vgmusic", "bitmidi", "lakh",
    "magic-of-midi",
]  # fmt: skip
MIDI = b"MThd and so on"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPMUSICIAN_HOME", str(tmp_path / "home"))


def zipped(files):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


def tarred(files, links=()):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name, target in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return content.getvalue()


def below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def small(**of):
    values = {"name": "small", "title": "Small", "what": "a little", "files": 2, "licence": "CC0", "cite": "nobody"}
    values |= {"site": "here", "how": "bulk", "layout": "first folder", "style": "the folder"}
    return Collection(**{**values, **of})


def said(capsys, *words):
    code = cli.main(["fetch", *words])
    out = capsys.readouterr()
    return code, out.out, out.err


# the table


def test_there_are_the_eight_collections():
    assert [each.name for each in list_collections()] == NAMES
    assert [each.files for each in list_collections()] == [1291, 4918, 0, 92861, 31581, 5311, 45129, 169454]


def test_the_list_says_of_each_what_it_is_its_licence_and_how_to_cite_it(capsys):
    code, out, _ = said(capsys, "--list")
    assert code == 0
    for each in list_collections():
        for text in (each.title, each.what, each.licence, each.cite, each.site, each.size):
            assert text in out


def test_the_readme_tells_of_each_too():
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    for each in list_collections():
        rows = [row for row in readme.splitlines() if row.startswith(f"| `{each.name}` |")]
        assert len(rows) == 2
        assert each.title.partition(" (")[0] in rows[0]
        assert each.licence.partition(";")[0] in rows[0]
        assert each.cite in rows[1]


def test_only_published_hashes_stand_in_the_table():
    hashed = {source.name: source.hash for each in list_collections() for source in each.sources if source.hash}
    assert set(hashed) == {"maestro-v3.0.0-midi.zip", "lmd_matched.tar.gz"}
    assert all(len(value) == len("sha256:") + 64 for value in hashed.values())


@pytest.mark.parametrize("of, text", [({"how": "magic"}, "how must be"), ({"layout": "none"}, "layout must be")])
def test_a_row_of_the_table_that_makes_no_sense_is_refused(of, text):
    with pytest.raises(OptionError, match=text):
        small(**of)


def test_an_unknown_name_is_answered_with_those_there_are():
    with pytest.raises(OptionError, match="no collection is called bach; there are maestro, classical-archives"):
        collection("bach")


# bulk files


def test_a_zip_is_fetched_unpacked_and_labelled_and_leaves_nothing_beside_it(tmp_path):
    content = zipped({"top/Bach/a.mid": MIDI, "top/Mozart/b.midi": MIDI, "top/LICENSE.txt": b"CC0", "top/c.exe": b"x"})
    with served(lambda asked: asked.file(content)) as (address, _):
        one = Remote(f"{address}/all.zip", "", len(content), f"md5:{hashlib.md5(content).hexdigest()}")
        got = fetch.fetch(small(tops=("top",)), [one], tmp_path / "got" / "small")
    assert (got.files, got.styles, got.refused) == (2, 2, ())
    assert below(got.folder) == ["styles.csv", "top/Bach/a.mid", "top/LICENSE.txt", "top/Mozart/b.midi"]
    assert [path.name for path in (tmp_path / "got").iterdir()] == ["small"]


def test_a_call_that_failed_keeps_what_it_had_and_a_later_one_unpacks_it(tmp_path):
    good, state = zipped({"Bach/a.mid": MIDI}), {"there": False}

    def respond(asked):
        asked.file(good) if state["there"] or asked.path == "/a.zip" else asked.answer(status=404)

    with served(respond) as (address, asked):
        both = [Remote(f"{address}/a.zip"), Remote(f"{address}/b.zip")]
        with pytest.raises(LibraryError, match=r"b.zip answers 404"):
            fetch.fetch(small(), both, tmp_path / "small")
        assert not (tmp_path / "small").exists()
        state["there"] = True
        got = fetch.fetch(small(), both, tmp_path / "small")
    assert [each.path for each in asked] == ["/a.zip", "/b.zip", "/b.zip"]
    assert below(got.folder) == ["a/Bach/a.mid", "b/Bach/a.mid", "styles.csv"]  # each archive in a folder of its own


def test_a_file_that_is_not_needed_may_fail(tmp_path):
    content = tarred({"lmd_matched/A/a.mid": MIDI})
    respond = lambda asked: asked.file(content) if asked.path == "/a.tar.gz" else asked.answer(status=404)  # noqa: E731
    with served(respond) as (address, _):
        both = [Remote(f"{address}/a.tar.gz"), Remote(f"{address}/list.txt", needed=False)]
        got = fetch.fetch(small(), both, tmp_path / "small")
    assert got.files == 1
    assert got.refused[0][0] == "list.txt"


def test_a_folder_that_is_there_is_never_written_into(tmp_path):
    with pytest.raises(LibraryError, match="is there already"):
        fetch.fetch(small(), [], tmp_path)


def test_an_archive_without_music_leaves_no_folder(tmp_path):
    content = zipped({"a.txt": b"x"})
    with (
        served(lambda asked: asked.file(content)) as (address, _),
        pytest.raises(LibraryError, match="there is no music"),
    ):
        fetch.fetch(small(), [Remote(f"{address}/a.zip")], tmp_path / "small")
    assert not (tmp_path / "small").exists()


# hostile archives


def test_paths_that_lead_out_are_refused_and_the_rest_is_kept(tmp_path):
    bad = {"../up.mid": MIDI, "/root.mid": MIDI, "a/../../up.mid": MIDI, "..\\up.mid": MIDI, "good/a.mid": MIDI}
    for name, content in (("a.zip", zipped(bad)), ("a.tar.gz", tarred(bad))):
        (tmp_path / name).write_bytes(content)
        into = tmp_path / name.replace(".", "-")
        refused = unpack(tmp_path / name, into, Limits())
        assert len(refused) == 4 and all("leads out" in reason for _, reason in refused)
        assert below(into) == ["good/a.mid"]
    assert not (tmp_path / "up.mid").exists()


def test_archives_in_an_archive_are_unpacked_into_folders_of_their_names_and_those_in_them_are_not(tmp_path):
    deep = zipped({"c.mid": MIDI, "deeper.zip": zipped({"d.mid": MIDI}), "../up.mid": MIDI})
    files = {"vgm/NES.zip": deep, "broken.zip": b"PK no zip", "../evil.zip": zipped({"e.mid": MIDI}), "a.mid": MIDI}
    (tmp_path / "a.zip").write_bytes(zipped(files))
    refused = dict(unpack(tmp_path / "a.zip", tmp_path / "into", Limits()))
    assert below(tmp_path / "into") == ["a.mid", "vgm/NES/c.mid"]
    assert set(refused) == {"vgm/NES.zip/../up.mid", "broken.zip", "../evil.zip"}


def test_a_bomb_of_archives_in_an_archive_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr("deepmusician.bulk.ALLOWED", 100_000)
    inner = zipped({f"{i}.mid": bytes(90_000) for i in range(2)})  # each within what it may be, all together not
    (tmp_path / "a.zip").write_bytes(zipped({f"{i}.zip": inner for i in range(9)}))
    with pytest.raises(LibraryError, match="inflates to more than"):
        unpack(tmp_path / "a.zip", tmp_path / "into", Limits())


def test_links_are_passed_over(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(tarred({"a.mid": MIDI}, [("b.mid", "/etc/passwd"), ("c", "..")]))
    assert unpack(tmp_path / "a.tar.gz", tmp_path / "into", Limits()) == []
    assert below(tmp_path / "into") == ["a.mid"]


def test_a_bomb_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr("deepmusician.bulk.ALLOWED", 100_000)
    for name, content in (
        ("a.zip", zipped({f"{i}.mid": bytes(1_000_000) for i in range(3)})),
        ("a.tar.gz", tarred({f"{i}.mid": bytes(1_000_000) for i in range(3)})),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(LibraryError, match="inflates to more than"):
            bring(small(), tmp_path / name, tmp_path / "small")
        assert not (tmp_path / "small").exists()


def test_a_file_larger_than_music_is_refused(tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped({"a.mid": bytes(3000), "b.mid": MIDI, "c.txt": bytes(3000)}))
    refused = unpack(tmp_path / "a.zip", tmp_path / "into", Limits(file_mb=0.002))
    assert refused == [("a.mid", "it has more than 2,000 bytes; split it into pieces")]
    assert below(tmp_path / "into") == ["b.mid", "c.txt"]


def test_names_that_have_no_place_on_this_disk_are_refused(tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped({"a.mid": MIDI, "a.mid/b.mid": MIDI, "x" * 300 + ".mid": MIDI}))
    refused = unpack(tmp_path / "a.zip", tmp_path / "into", Limits())
    assert [reason.partition(" (")[0] for _, reason in refused] == ["its name has no place on this disk"] * 2


def test_a_file_cut_off_within_its_archive_is_told(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(tarred({"a.mid": MIDI * 1000})[:-40])
    with pytest.raises(LibraryError, match="damaged"):
        unpack(tmp_path / "a.tar.gz", tmp_path / "into", Limits())


# a person's own copy


def test_an_own_copy_is_taken_in_from_a_folder_with_the_archives_in_it(tmp_path):
    own = tmp_path / "own"
    (own / "Bach").mkdir(parents=True)
    (own / "Bach" / "a.mid").write_bytes(MIDI)
    (own / "more.zip").write_bytes(zipped({"b.mid": MIDI}))
    (own / "link.mid").symlink_to("/etc/passwd")
    got = bring(collection("classical-archives"), own, tmp_path / "got")
    assert below(got.folder) == ["Bach/a.mid", "more/b.mid", "styles.csv"]
    assert got.styles == 2
    assert below(own) == ["Bach/a.mid", "link.mid", "more.zip"]


def test_an_own_copy_of_an_unknown_kind_is_told(tmp_path):
    (tmp_path / "a.rar").write_bytes(b"Rar!")
    with pytest.raises(LibraryError, match="there is no music"):
        bring(small(), tmp_path / "a.rar", tmp_path / "got")
    with pytest.raises(LibraryError, match="no file or folder is called"):
        bring(small(), tmp_path / "b.zip", tmp_path / "got")


# the Internet Archive


def test_an_item_of_the_internet_archive_is_fetched_as_it_is_listed(tmp_path, monkeypatch):
    content = zipped({"Zelda/a.mid": MIDI})
    files = [
        {"name": "item_files.xml"},
        {"name": "NES games.zip", "size": str(len(content)), "md5": hashlib.md5(content).hexdigest()},
        {"name": "../up.zip", "size": "x", "sha1": hashlib.sha1(content).hexdigest()},
    ]

    def respond(asked):
        listing = asked.path.startswith("/metadata/")
        asked.answer(json.dumps({"files": files}).encode()) if listing else asked.file(content)

    what = small(how="archive.org", item="item", pick=("*.tar.gz", "*.zip"), layout="last folder")
    with served(respond) as (address, asked):
        monkeypatch.setattr(fetch, "ARCHIVE_ORG", address)
        remotes = remotes_of(what)
        got = fetch.fetch(what, remotes, tmp_path / "got")
        with pytest.raises(LibraryError, match=r"lists no \*.7z \(it has .xml, .zip\); download and unpack it"):
            remotes_of(small(how="archive.org", item="item", pick=("*.7z",)))
    assert [each.path for each in asked][:2] == ["/metadata/item", "/download/item/NES%20games.zip"]
    assert [remote.bytes for remote in remotes] == [len(content), 0]
    assert remotes[0].hash.startswith("md5:") and remotes[1].hash.startswith("sha1:")
    assert got.files == 2
    assert not (tmp_path / "up.zip").exists()


def test_an_archive_out_of_reach_is_told(monkeypatch):
    with served(lambda asked: asked.answer(b"no json")) as (address, _):
        monkeypatch.setattr(fetch, "ARCHIVE_ORG", address)
        with pytest.raises(LibraryError, match="cannot be read"):
            remotes_of(collection("magic-of-midi"))


# the verb


@pytest.fixture
def table(tmp_path, monkeypatch):
    """`table(address)` has the collections `small`, to be downloaded there, and `site`, to be gone through."""

    def write(address, layout="last folder"):
        rows = 'title = "T"\nwhat = "w"\nfiles = 2\nlicence = "CC0"\ncite = "c"\nsite = "s"\nstyle = "the folder"\n'
        rows += f'layout = "{layout}"\n'
        text = f'[small]\n{rows}how = "bulk"\n[[small.sources]]\nurl = "{address}/all.zip"\n'
        text += f'[site]\n{rows}how = "crawl"\nstart = "{address}/music/"\n'
        path = tmp_path / f"table-{address.rpartition(':')[2]}.toml"
        path.write_text(text)
        monkeypatch.setattr(fetch, "TABLE", path)

    return write


def songs(tmp_path):
    files = {}
    for i, name in enumerate(("Bach/a.mid", "Bach/b.mid", "Mozart/c.mid")):
        write_midi(scale_song(48 + 5 * i), tmp_path / "song.mid")
        files[name] = (tmp_path / "song.mid").read_bytes()
    return files


def test_it_is_told_and_asked_first_and_nothing_is_asked_of_the_site_without_a_yes(table, capsys, monkeypatch):
    with served(lambda asked: asked.answer(status=404)) as (address, asked):
        table(address)
        code, out, err = said(capsys, "small")
        assert code == 2 and "licence: CC0" in out and "add --yes" in err
        monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
        monkeypatch.setattr("builtins.input", lambda question: "")
        code, _, err = said(capsys, "small")
        assert code == 2 and "nothing was fetched" in err
    assert asked == []


def test_maestro_fetched_and_ingested_keeps_its_composers_and_its_split(table, capsys, tmp_path):
    rows = "canonical_composer,split,midi_filename\nBach,train,Bach/a.mid\nBach,test,Bach/b.mid\n"
    rows += "Franz Liszt / Franz Schubert,validation,Mozart/c.mid\n"
    files = {f"maestro-v3.0.0/{name}": content for name, content in songs(tmp_path).items()}
    content = zipped(files | {"maestro-v3.0.0/maestro-v3.0.0.csv": rows})
    with served(lambda asked: asked.file(content)) as (address, _):
        table(address, layout="maestro")
        code, out, err = said(capsys, "small", "--yes", "--ingest", "--workers", "1")
    assert code == 0, err
    assert f"deepmusician ingest {place_of('small')} -o small" in out
    assert sorted(styles_of(folder_of("small"))) == [("Bach", 2), ("Franz Liszt and Franz Schubert", 1)]
    assert len(load_data_set("small/Franz Liszt and Franz Schubert").songs) == 1
    assert load_data_set("small").sides == ("training", "held out", "held out")


def test_a_site_is_gone_through_only_by_crawl_and_with_a_contact(table, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("deepmusician.crawl.time.sleep", lambda seconds: None)
    files = songs(tmp_path)
    links = "".join(f'<a href="{name}"></a>' for name in files)

    def respond(asked):
        name = asked.path.removeprefix("/music/")
        if name in files:
            return asked.answer(files[name])
        return asked.answer(links.encode(), 404 if name == "/robots.txt" else 200, Content_Type="text/html")

    with served(respond) as (address, asked):
        table(address)
        code, _, err = said(capsys, "site", "--yes")
        assert code == 2 and "go through it with --crawl --contact" in err
        code, _, err = said(capsys, "site", "--yes", "--crawl")
        assert code == 2 and "--contact must be an address" in err
        code, _, err = said(capsys, "site", "--yes", "--crawl", "--contact", "a@b.org", "--pause", "0.5")
        assert code == 2 and "at least 1 second" in err
        assert asked == []
        crawl = ["site", "--yes", "--crawl", "--contact", "a@b.org"]
        code, out, _ = said(capsys, *crawl, "--most", "1", "-o", str(tmp_path / "site"))
        assert code == 0 and "1 files of music, 1 styles; 1 pages seen; call the same again" in out
        code, out, _ = said(capsys, *crawl, "-o", str(tmp_path / "site"))
        assert code == 0 and "3 files of music, 2 styles; 1 pages seen\n" in out
    assert below(tmp_path / "site") == ["Bach/a.mid", "Bach/b.mid", "Mozart/c.mid", "styles.csv"]


@pytest.mark.parametrize(
    "words, text",
    [
        (["classical-archives", "--yes"], "has no file for everybody"),
        (["maestro", "--yes", "--crawl"], "fetched without --crawl"),
        (["maestro", "--yes", "--contact", "a@b.org"], "are for --crawl"),
        (["maestro", "--yes", "--most", "3"], "are for --crawl"),
        (["vgmusic", "--crawl", "--contact", "a@b.org", "--most", "-1"], "at least 0"),
        (["vgmusic", "--crawl", "--from", "x"], "give one of them"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_is_asked(capsys, words, text):
    code, _, err = said(capsys, *words)
    assert code == 2
    assert text in err


def test_an_own_copy_comes_in_by_the_verb(capsys, tmp_path):
    (tmp_path / "mine.zip").write_bytes(zipped({"Bach/a.mid": MIDI}))
    code, out, err = said(capsys, "classical-archives", "--yes", "--from", str(tmp_path / "mine.zip"))
    assert code == 0, err
    assert "1 files of music, 1 styles" in out
