"""Windows cut on the device are those cut from memory, to the bit."""

import dataclasses

import numpy as np
import pytest
import torch
from test_training import SMALL, random_songs, trainer

from deepmusician import resident
from deepmusician.resident import Resident, where_it_trains
from deepmusician.roll import pack
from deepmusician.rolls import Rolls
from deepmusician.windows import Windows

LENGTHS = np.array([40, 3, 17, 1, 64])  # some shorter than a window
CPU = torch.device("cpu")


def rolls_of(planes: int, styles: int) -> Rolls:
    rng = np.random.default_rng(planes)
    sounding = rng.random((LENGTHS.sum(), 88)) < 0.1
    sounding[:40, :3] = sounding[:40, -2:] = False  # the first song can be moved, if not by much
    sounding[43:60] = False  # a song in which nothing sounds
    sounding[60, [0, 87]] = True  # and one that fills the keyboard
    struck = sounding & (rng.random(sounding.shape) < 0.5)
    velocity = (sounding * rng.integers(1, 128, sounding.shape)).astype(np.uint8)
    return Rolls(
        pack(sounding), LENGTHS, pack(struck) if planes > 1 else None, velocity if planes > 2 else None,
        np.arange(5) % styles, tuple("abc"[:styles]),
    )  # fmt: skip


def same(one, other):
    for name in ("source", "target", "mask", "style", "begin"):
        a, b = getattr(one, name), getattr(other, name)
        assert (a is None and b is None) or (a.dtype == b.dtype and torch.equal(a, b)), name


@pytest.mark.parametrize("source_len", [None, 1, 5])
@pytest.mark.parametrize("styles", [1, 3])
@pytest.mark.parametrize("planes", [1, 2, 3])
def test_the_batches_are_the_same(planes, styles, source_len):
    windows = Windows(rolls_of(planes, styles), np.array([0, 1, 2, 3, 4]), 8, 5, source_len)
    there, rng = Resident(windows, CPU), np.random.default_rng(0)
    for most in (0, 5, 90):  # places that begin before their songs, and moves beyond the keyboard's ends
        places = windows.places(rng)
        assert (places[:, 1] < 0).any()
        steps = rng.integers(-most, most + 1, len(places))
        same(windows.batch(places, steps), there.batch(places, steps))


def test_rolls_mapped_from_disk_are_moved_part_by_part(tmp_path, monkeypatch):
    monkeypatch.setattr(resident, "PART", 100)
    rolls = rolls_of(1, 1)
    np.save(tmp_path / "packed.npy", rolls.packed)
    mapped = Windows(Rolls(np.load(tmp_path / "packed.npy", mmap_mode="r"), LENGTHS), np.arange(5), 8, 8)
    places, steps = mapped.places(), np.ones(len(mapped.places()), int)
    same(mapped.batch(places, steps), Resident(mapped, CPU).batch(places, steps))


def test_they_lie_on_a_card_only_where_they_leave_it_room(monkeypatch):
    windows = Windows(rolls_of(3, 1), np.arange(5), 8, 8)
    assert resident.size(windows) == LENGTHS.sum() * (11 + 11 + 88)
    assert where_it_trains(windows, CPU) is windows
    free = [resident.size(windows) * 4]
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free[0], free[0]))
    monkeypatch.setattr(resident, "Resident", lambda windows, device: "there")
    assert where_it_trains(windows, torch.device("cuda")) == "there"
    free[0] -= 4
    assert where_it_trains(windows, torch.device("cuda")) is windows


def test_a_training_takes_the_same_steps(monkeypatch):
    options = dataclasses.replace(SMALL, n_epochs=2, transpose=4)
    plain = trainer(options, random_songs())
    monkeypatch.setattr("deepmusician.training.where_it_trains", Resident)
    there = trainer(options, random_songs())
    assert isinstance(there.cut, Resident)
    assert [report["train"] for report in plain.epochs()] == [report["train"] for report in there.epochs()]
