"""Collections from the web: shown, asked for, got whole or not at all, each with the layout it has; a site politely."""

import hashlib
import io
import threading
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from midi_hex import C4, midi_file
from test_ingest import tune

from deepmusician import crawl, fetch
from deepmusician.cli import main
from deepmusician.collected import rows
from deepmusician.crawl import Crawler
from deepmusician.errors import LibraryError
from deepmusician.midi import write_midi
from deepmusician.shelf import folder_of, list_data_sets, load_data_set

MIDI = midi_file(C4)


def zipped(members):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return target.getvalue()


MAESTRO = zipped(
    {
        "maestro-v3.0.0/maestro-v3.0.0.csv": (
            "canonical_composer,canonical_title,split,year,midi_filename,audio_filename,duration\n"
            "Frédéric Chopin,Étude,train,2004,2004/a.midi,a.wav,10\n"
            "Franz Liszt / Franz Schubert,Erlkönig,test,2006,2006/b.midi,b.wav,10\n"
            "Frédéric Chopin,Nocturne,validation,2004,2004/c.midi,c.wav,10\n"
        ),
        **{
            f"maestro-v3.0.0/{name}.midi": write_midi(tune(i))
            for i, name in enumerate(("2004/a", "2006/b", "2004/c"))
        },
    }
)


class Server(ThreadingHTTPServer):
    """Sends `content`, and misbehaves as its `faults` say, one request after another; keeps what it was asked."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.faults, self.asked, self.pages = MAESTRO, [], [], {}
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.asked.append((self.path, dict(self.headers)))
        if server.pages:
            kind, content = server.pages.get(self.path, (None, b""))
            self.send_response(200 if kind else 404)
            self.send_header("Content-Type", kind or "text/plain")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            return
        fault = server.faults.pop(0) if server.faults else ""
        begin = int(self.headers.get("Range", "bytes=0-")[6:-1])
        begin = 0 if fault == "begins anew" else begin
        body = server.content[begin:]
        if fault == "gone":
            self.send_error(404)
            return
        self.send_response(206 if begin else 200)
        length = {"lies short": len(body) - 10, "lies long": len(body) + 1000}.get(fault, len(body))
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body[: len(body) // 3] if fault == "breaks off" else body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = Server()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def known(home, server, monkeypatch):
    """The table of collections, all of whose addresses lead to the server; nothing waits."""
    monkeypatch.setattr(fetch, "PAUSE", 0)
    monkeypatch.setattr(crawl, "PAUSE", 0)
    table = {
        name: replace(each, url=f"{server.url}/{name}.zip", start=f"{server.url}/music/index.html", sha256="")
        for name, each in fetch.known().items()
    }
    monkeypatch.setattr(fetch, "known", lambda: table)
    return table


def told(name):
    return hashlib.sha256(name).hexdigest()


# ---- the table


def test_all_eight_collections_are_told_with_licence_and_citation(capsys):
    assert main(["fetch", "--list"]) == 0
    said = capsys.readouterr().out
    assert list(fetch.known()) == [
        "maestro", "classical-archives", "symbolic-music-data", "video-game-music", "vgmusic", "bitmidi", "lakh",
        "magic-of-midi",
    ]  # fmt: skip
    assert said.count("licence:") == said.count("cite:") == 8
    for each in fetch.known().values():
        assert each.title in said
        assert f"{each.pieces:,}" in said
        assert bool(each.url) == (each.kind == "bulk")
        assert bool(each.start) == (each.kind == "site")
        assert len(each.sha256) in (0, 64)


# ---- bulk files


def test_maestro_keeps_its_composers_and_its_split(known, capsys):
    assert main(["fetch", "maestro", "--yes", "--workers", "1"]) == 0
    assert "licence: CC BY-NC-SA 4.0" in capsys.readouterr().out
    data = load_data_set("maestro")
    assert [name.rpartition("/")[2] for name in data.names] == ["a.midi", "c.midi", "b.midi"]
    assert data.sides == ("training", "held out", "held out")
    assert len(load_data_set("maestro/Frédéric Chopin").songs) == 2
    assert len(load_data_set("maestro/Franz Liszt and Franz Schubert").songs) == 1


@pytest.mark.parametrize("faults", [["breaks off"], ["breaks off", "breaks off"], ["lies long"], ["begins anew"]])
def test_a_break_is_gone_on_with(known, server, faults):
    server.faults = list(faults)
    maestro = replace(known["maestro"], sha256=told(MAESTRO))
    assert fetch.download(maestro).read_bytes() == MAESTRO
    ranges = [headers.get("Range") for _, headers in server.asked]
    assert ranges[0] is None
    assert all(ranges[1:])
    asked = len(server.asked)
    assert fetch.download(maestro).read_bytes() == MAESTRO
    assert len(server.asked) == asked  # it is here, and true


def test_what_broke_off_for_good_is_kept_and_gone_on_with_next_time(known, server, monkeypatch):
    monkeypatch.setattr(fetch, "TRIES", 2)
    server.faults = ["breaks off", "breaks off"]
    with pytest.raises(LibraryError, match="goes on from there"):
        fetch.download(known["maestro"])
    assert fetch.download(known["maestro"]).read_bytes() == MAESTRO
    begins = [int(headers.get("Range", "bytes=0-")[6:-1]) for _, headers in server.asked]
    assert begins == sorted(set(begins))


def test_a_wrong_checksum_is_refused_and_nothing_of_it_kept(known, server):
    maestro = replace(known["maestro"], sha256=told(b"another"))
    with pytest.raises(LibraryError, match="not what was published"):
        fetch.download(maestro)
    assert list(fetch.downloads(maestro).iterdir()) == []


def test_a_length_that_is_a_lie_gives_no_file_that_is_not_whole(known, server):
    server.faults = ["lies short"] * 9
    with pytest.raises(LibraryError, match="not what was published"):
        fetch.download(replace(known["maestro"], sha256=told(MAESTRO)))


def test_what_is_gone_is_named(known, server):
    server.faults = ["gone"]
    with pytest.raises(LibraryError, match="404"):
        fetch.download(known["maestro"])


def test_room_on_the_disk_is_asked_for_first(known, server, monkeypatch):
    usage = type("Usage", (), {"free": 100})
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda folder: usage)
    monkeypatch.setattr(fetch, "TRIES", 1)
    with pytest.raises(LibraryError, match="make room"):
        fetch.download(known["maestro"])


def test_zips_within_a_zip_lie_flat_and_name_the_game(known, server):
    inner = zipped({"Zelda/title.mid": write_midi(tune(1))}), zipped({"flat.mid": write_midi(tune(2))})
    server.content = zipped({"vgm/NES.zip": inner[0], "../../evil.zip": inner[1], "readme.txt": b"hello"})
    assert main(["fetch", "video-game-music", "--yes"]) == 0
    found = {row.name for row in rows(folder_of("video-game-music"), 0, 10)[0]}
    assert found == {"NES.zip/Zelda/title.mid", "evil.zip/flat.mid"}
    assert len(load_data_set("video-game-music/Zelda").songs) == len(load_data_set("video-game-music/evil").songs) == 1
    assert not (fetch.downloads(known["video-game-music"]).parents[1] / "evil.zip").exists()


def test_lakh_is_read_as_it_lies(known, server):
    server.content = zipped({"lmd_matched/A/B/C/TRABC/0a.mid": MIDI})
    assert main(["fetch", "lakh", "--yes", "-o", "mine"]) == 0
    assert load_data_set("mine").names == ("lakh.zip/lmd_matched/A/B/C/TRABC/0a.mid",)
    assert load_data_set("mine").sides == ("",)


# ---- asked, and one's own copy


def test_nothing_is_fetched_without_a_yes(known, server, capsys, monkeypatch):
    assert main(["fetch", "maestro"]) == 2
    assert "give --yes" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", type("Terminal", (), {"isatty": lambda self: True})())
    monkeypatch.setattr("builtins.input", lambda question: "n")
    assert main(["fetch", "maestro"]) == 1
    said = capsys.readouterr().out
    assert "nothing was fetched" in said
    assert "cite:" in said
    assert server.asked == []
    assert list_data_sets() == []


def test_ones_own_copy_is_imported_by_composer(known, server, tmp_path, capsys):
    assert main(["fetch", "classical-archives", "--yes"]) == 2
    assert "get your own copy" in capsys.readouterr().err
    for i, composer in enumerate(("Bach", "Bach", "Chopin")):
        (tmp_path / "own" / composer).mkdir(parents=True, exist_ok=True)
        write_midi(tune(i), tmp_path / "own" / composer / f"{i}.mid")
    assert main(["fetch", "classical-archives", "--from", str(tmp_path / "own")]) == 0
    assert len(load_data_set("classical-archives/Bach").songs) == 2
    assert main(["fetch", "symbolic-music-data", "--from", str(tmp_path / "nowhere")]) == 2
    assert server.asked == []


def test_an_archive_of_another_kind_waits_to_be_unpacked(known, server, monkeypatch, capsys):
    known["magic-of-midi"] = replace(known["magic-of-midi"], url=f"{server.url}/The_Magic_of_MIDI.7z")
    server.content = b"7z\xbc\xaf\x27\x1c"
    assert main(["fetch", "magic-of-midi", "--yes"]) == 2
    assert "unpack it (7z x)" in capsys.readouterr().err
    assert main(["fetch", "nothing"]) == 2
    assert "there are maestro" in capsys.readouterr().err


# ---- sites


def page(*links):
    return "text/html; charset=utf-8", "".join(f'<a href="{link}">x</a>' for link in links).encode()


SITE = {
    "/robots.txt": ("text/plain", b"User-agent: *\nDisallow: /music/secret/\n"),
    "/music/index.html": page(
        "nes/", "secret/", "/about.html", "https://elsewhere.example/x.mid", "nes/../../../up.mid", "a.png"
    ),
    "/music/nes/": page("zelda/1.mid", "zelda/2.mid", "../index.html", "/music/secret/s.mid", "zelda/gone.mid"),
    "/music/nes/zelda/1.mid": ("audio/midi", write_midi(tune(1))),
    "/music/nes/zelda/2.mid": ("audio/midi", write_midi(tune(2))),
    "/music/secret/s.mid": ("audio/midi", MIDI),
    "/up.mid": ("audio/midi", write_midi(tune(3))),
}


def test_a_site_is_gone_through_politely_and_on_asking_only(known, server, capsys):
    server.pages = SITE
    assert main(["fetch", "vgmusic", "--yes"]) == 2
    assert "--site --contact" in capsys.readouterr().err
    assert main(["fetch", "vgmusic", "--yes", "--site", "--contact", "someone"]) == 2
    assert server.asked == []
    assert main(["fetch", "vgmusic", "--yes", "--site", "--contact", "me@example.org"]) == 0
    paths = [path for path, _ in server.asked]
    assert paths[0] == "/robots.txt"
    assert len(paths) == len(set(paths))
    assert not any("secret" in path or "about" in path or "png" in path for path in paths)
    assert all("me@example.org" in headers["User-Agent"] for _, headers in server.asked)
    assert len(load_data_set("vgmusic").songs) == 3
    assert len(load_data_set("vgmusic/zelda").songs) == 2


def test_a_crawl_that_was_stopped_goes_on(known, server, tmp_path):
    server.pages = SITE
    start = f"{server.url}/music/index.html"
    assert Crawler(start, tmp_path / "site", "me@example.org", pause=0, most=1).run() == 1
    first = [path for path, _ in server.asked]
    assert Crawler(start, tmp_path / "site", "me@example.org", pause=0).run() == 3
    again = [path for path, _ in server.asked][len(first) :]
    assert set(first) & set(again) == {"/robots.txt"}
    assert {p.name for p in tmp_path.rglob("*.mid")} == {"1.mid", "2.mid", "up.mid"}


def test_one_request_at_a_time_with_a_pause(known, server, tmp_path, monkeypatch):
    server.pages = SITE | {"/robots.txt": ("text/plain", b"User-agent: *\nCrawl-delay: 7\n")}
    now, slept = [0.0], []
    monkeypatch.setattr(crawl.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(crawl.time, "sleep", lambda seconds: slept.append(seconds))
    Crawler(f"{server.url}/music/index.html", tmp_path / "site", "me@example.org", pause=2).run()
    assert len(slept) == len(server.asked)
    assert all(pause >= 7 for pause in slept[1:])


def test_a_site_that_asks_programs_to_stay_away_is_left_alone(known, server, tmp_path):
    server.pages = SITE | {"/robots.txt": ("text/plain", b"User-agent: *\nDisallow: /\n")}
    with pytest.raises(LibraryError, match="stay away"):
        Crawler(f"{server.url}/music/index.html", tmp_path / "site", "me@example.org", pause=0).run()
    assert [path for path, _ in server.asked] == ["/robots.txt"]
