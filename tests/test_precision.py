"""Which number format is taken where a person leaves it open."""

import dataclasses

import pytest
import torch
from test_training import SMALL, random_songs, trainer

from deepmusician import precision


@pytest.fixture
def measured(monkeypatch):
    """Say how many times as fast bf16 is, on a processor that has instructions for it."""

    def say(times: float, can: bool = True) -> None:
        precision._gain.cache_clear()
        monkeypatch.setattr(precision, "_fastest", lambda dtype: 1.0 if dtype == torch.float32 else 1 / times)
        for module in ("deepmusician.precision", "deepmusician.training"):
            monkeypatch.setattr(f"{module}.can_bf16", lambda accelerator: can)

    yield say
    precision._gain.cache_clear()


def test_half_precision_is_taken_only_where_it_is_faster(measured):
    measured(2.0)
    assert precision.prefers_bf16("cpu")
    measured(0.5)
    assert not precision.prefers_bf16("cpu")
    measured(2.0, can=False)
    assert not precision.prefers_bf16("cpu")


def test_a_product_takes_some_time_in_both_formats():
    assert precision._fastest(torch.float32) > 0 < precision._fastest(torch.bfloat16)


def test_a_training_that_goes_on_keeps_the_format_it_began_with(measured, tmp_path):
    options = dataclasses.replace(SMALL, precision="auto", n_epochs=1)
    measured(2.0)
    began = trainer(options, random_songs())
    folder = began.save(tmp_path / "saved", {"title": "t", "data": {}})
    assert began.half
    measured(0.5)
    other = trainer(options, random_songs())
    assert not other.half
    other.restore(folder)
    assert other.half
    measured(0.5, can=False)
    elsewhere = trainer(options, random_songs())
    elsewhere.restore(folder)
    assert not elsewhere.half, "what a processor lacks would be emulated"


def test_what_is_asked_for_is_not_measured(measured):
    measured(0.5)
    assert trainer(dataclasses.replace(SMALL, precision="bf16"), random_songs()).half
    measured(2.0)
    assert not trainer(SMALL, random_songs()).half
