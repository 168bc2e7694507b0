"""Capsules: a run in one zip, to be kept, passed on and replayed: the same seed composes the same MIDI, to the byte.

    capsule.json              options, a hash of each song, metrics, notes, and the size and SHA-256 of each file
    model/card.json           the model the run composes with
    model/model.safetensors
    samples/epoch-0004.mid    the same piece at each epoch

A capsule is a file from a stranger. Only these names are read, in memory and counted while they inflate; the JSON is
made anew from what is known (see capsule_schema); the weights' header is compared with the card, under its caps, before
either is given memory; every hash is compared and every number finite; the samples are read by the reader of hostile
files. Only then is a run made. The optimiser stays behind: an imported run is composed with and branched from, not
resumed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
import time
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from deepmusician import __version__
from deepmusician import capsule_schema as schema
from deepmusician.archives import Archive
from deepmusician.branching import lineage
from deepmusician.checkpoint import (
    CARD,
    MILESTONES,
    WEIGHTS,
    AtomicFolder,
    check_finite,
    check_fit,
    milestone,
    tensor_specs,
)
from deepmusician.errors import CapsuleError, CheckpointError, LibraryError
from deepmusician.keeping import LONGEST_NOTE
from deepmusician.limits import Limits
from deepmusician.milestones import point
from deepmusician.options import to_dict
from deepmusician.quota import check_room
from deepmusician.reading import read_many
from deepmusician.runs import NAME, About, Run, Status, free_name
from deepmusician.workspace import runs_dir

FORM = 1
INDEX, MODEL, SAMPLES = "capsule.json", "model", "samples"
SUFFIX = ".capsule.zip"
ALLOWED = re.compile(rf"{INDEX}|{MODEL}/{CARD}|{MODEL}/{WEIGHTS}|{SAMPLES}/epoch-\d{{4,5}}\.mid")
MOST_SAMPLES = 1_000
WITHIN = Limits(file_mb=400, zip_mb=450, zip_files=MOST_SAMPLES + 20)
LARGEST_TEXT = 32_000_000  # bytes of capsule.json, card.json and of one sample
EPOCH_NOW = (1980, 1, 1, 0, 0, 0)  # the same run gives the same capsule


# ---- export


def export_run(run: Run) -> bytes:
    """The capsule of a run. Raises CapsuleError where it has no model yet."""
    folder = run.model()
    if folder is None:
        raise CapsuleError(f"run {run.name} has no model yet, so there is nothing to export; train for an epoch first")
    files = {f"{MODEL}/{name}": (folder / name).read_bytes() for name in (CARD, WEIGHTS)}
    files |= {f"{SAMPLES}/{p.name}": p.read_bytes() for p in _thinned(run.samples())}
    index = {
        "form": FORM,
        "version": __version__,
        "name": run.name,
        "chosen": run.checkpoint("chosen") is not None,
        "options": to_dict(run.options()),
        "lineage": lineage(run.options()),
        "songs": run.songs(),
        "metrics": run.metrics(),
        "baselines": run.baselines(),
        "note": run.about().note,
        "files": {name: {"bytes": len(c), "sha256": hashlib.sha256(c).hexdigest()} for name, c in files.items()},
    }
    capsule = BytesIO()
    with zipfile.ZipFile(capsule, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {INDEX: json.dumps(index, indent=1).encode(), **files}.items():
            archive.writestr(zipfile.ZipInfo(name, EPOCH_NOW), content, zipfile.ZIP_DEFLATED)
    return capsule.getvalue()


def _thinned(samples: list[Path]) -> list[Path]:
    """At most MOST_SAMPLES, spread over all."""
    step = -(-len(samples) // MOST_SAMPLES) or 1
    return samples[::step]


# ---- import


def import_run(capsule: bytes | Path, name: str | None = None) -> Run:
    """Make a run of a capsule, under its own name, another one, or a free one like it.

    Raises CapsuleError, in one sentence and with nothing left behind, where anything in it is not as it should be.
    """
    check_room()
    index, files = _unpack(capsule)
    options = schema.options(index)
    reports = [schema.report(r, i) for i, r in enumerate(schema.rows(index, "metrics", schema.MOST_EPOCHS), 1)]
    simple = schema.part(index, "baselines")
    baselines = {k: schema.numbers(v, k) for k, v in simple.items() if schema.WORD.fullmatch(k)}
    songs = [schema.song(s) for s in schema.rows(index, "songs", schema.MOST_SONGS)]
    about = About(note=schema.text(index, "note", LONGEST_NOTE, ""), named=True)
    card = schema.card(schema.read_json(files[f"{MODEL}/{CARD}"], CARD))
    _check_weights(card, files[f"{MODEL}/{WEIGHTS}"])
    samples = {k: v for k, v in files.items() if k.startswith(SAMPLES)}
    _check_samples(samples)
    path = _claimed(name or schema.text(index, "name", 80), free=name is None)
    try:
        _fill(path, index, files, card, (options, reports, baselines, songs, about))
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
    return Run(path)


def _fill(path: Path, index: dict, files: dict[str, bytes], card: dict, parts: tuple) -> None:
    """Write the run in the place of the empty folder `path`, whole or not at all."""
    options, reports, baselines, songs, about = parts
    chosen = index.get("chosen") is True
    began = [schema.plain(str(name))[:80] for name in index.get("lineage") or [] if isinstance(name, str)][:20]
    with AtomicFolder(path) as draft:
        run = Run(draft)
        run.write_options(dataclasses.replace(options, start_from=None))  # a name here may be another model's
        run.write_metrics(reports)
        run.write_baselines(baselines)
        run.write_songs(songs)
        run.write_about(about)
        model = draft / (MILESTONES if chosen else "checkpoints") / milestone(card["epoch"])
        model.mkdir(parents=True)
        (model / WEIGHTS).write_bytes(files[f"{MODEL}/{WEIGHTS}"])
        (model / CARD).write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", "utf-8")
        (draft / "checkpoints").mkdir(exist_ok=True)
        point(draft / "checkpoints" / ("chosen" if chosen else "best"), model)
        (draft / SAMPLES).mkdir()
        for file, content in files.items():
            if file.startswith(SAMPLES):
                (draft / file).write_bytes(content)
        message = f"Imported on {time.strftime('%Y-%m-%d')}: compose with it, or branch from it."
        message += f" Where it comes from, it began with {', which began with '.join(began)}." if began else ""
        run.write_status(Status("finished", len(reports), max(len(reports), card["epoch"]), message=message))


def _unpack(capsule: bytes | Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The index and every file it names, of the right size and hash, in memory."""
    try:
        archive = Archive(BytesIO(capsule) if isinstance(capsule, bytes) else capsule, WITHIN)
        names = [info.filename for info in archive.members]
        for odd in (n for n in names if not ALLOWED.fullmatch(n)):
            raise CapsuleError(f"a capsule holds no file called {schema.plain(odd)[:80]!r}; it was not exported here")
        if len(set(names)) < len(names) or not {INDEX, f"{MODEL}/{CARD}", f"{MODEL}/{WEIGHTS}"} <= set(names):
            raise CapsuleError(f"a capsule holds {INDEX}, {MODEL}/{CARD} and {MODEL}/{WEIGHTS}, each once")
        members = {info.filename: info for info in archive.members}
        index = schema.read_json(_small(archive.read(members.pop(INDEX)), INDEX), INDEX)
        if index.get("form") != FORM:
            raise CapsuleError(f"the capsule has form {str(index.get('form'))[:20]}, this version reads {FORM}")
        files = {name: archive.read(info) for name, info in members.items()}
    except LibraryError as error:
        raise CapsuleError(f"the capsule cannot be imported: {error}") from None
    except OSError as error:
        raise CapsuleError(f"the capsule cannot be read ({error.strerror or error})") from None
    _check_hashes(schema.part(index, "files"), files)
    for name, content in files.items():
        if not name.endswith(WEIGHTS):
            _small(content, name)
    return index, files


def _small(content: bytes, name: str) -> bytes:
    if len(content) > LARGEST_TEXT:
        raise CapsuleError(f"{name} may have {LARGEST_TEXT:,} bytes, got {len(content):,}; it is no capsule of ours")
    return content


def _check_hashes(told: dict, files: dict[str, bytes]) -> None:
    if set(told) != set(files):
        raise CapsuleError("the capsule's list of files is not that of the files it holds; export it anew")
    for name, content in files.items():
        about = schema.part(told, name)
        if about.get("bytes") != len(content) or about.get("sha256") != hashlib.sha256(content).hexdigest():
            raise CapsuleError(f"{name} is not what the capsule's SHA-256 says; it is damaged or was changed")


def _check_weights(card: dict[str, Any], weights: bytes) -> None:
    """Header against card first, then every number."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        check_fit(card, tensor_specs(BytesIO(weights)))
        check_finite(load(weights))
    except (CheckpointError, SafetensorError) as error:
        raise CapsuleError(f"the capsule's model is refused: {error}") from None


def _check_samples(samples: dict[str, bytes]) -> None:
    for name, read in zip(samples, read_many(_sources(samples)), strict=True):
        if isinstance(read, str):
            raise CapsuleError(f"{name} in the capsule is no music: {read}")


def _sources(samples: dict[str, bytes]) -> Iterator[tuple[str, Any]]:
    for name, content in samples.items():
        yield name, lambda content=content: content


def _claimed(wanted: str, free: bool) -> Path:
    """An empty folder for the new run; with `free` under a name like `wanted` that nobody has. Raises CapsuleError."""
    fits = NAME.fullmatch(wanted)
    for name in ([wanted] if fits else []) + ([free_name(wanted)] if free else []):
        try:
            (runs_dir() / name).mkdir()
            return runs_dir() / name
        except FileExistsError:
            continue
    raise CapsuleError(f"the run cannot be called {wanted!r}: it is taken, or not letters, digits, space . _ + -")
