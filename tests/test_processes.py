"""Two processes that train as one learn what one process learns with the doubled batch.

This file is also the program that each of the two runs, with the windows it sees at once and a folder for its reports.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from deepmusician.notes import Song
from deepmusician.options import TrainOptions
from deepmusician.rolls import make_rolls


def learn(batch_size: int, folder: Path, resume: Path | None = None) -> list[list[float]]:
    """Loss and likelihood of each of two epochs; the first process leaves a checkpoint of the first."""
    from deepmusician.training import Trainer

    rng = np.random.default_rng(0)
    songs = [Song.from_notes([(t / 4, 0.25, int(rng.integers(48, 72))) for t in range(64)]) for _ in range(5)]
    options = TrainOptions(
        n_epochs=2, seq_len=16, hidden_size=16, classifier_size=16, num_layers=1, decoder_n_layers=1, transpose=3,
        classifier_dropout=0.0, dropout=0.0, precision="fp32", batch_size=batch_size,
    )  # fmt: skip
    trainer = Trainer(options, make_rolls(songs), np.arange(4), np.arange(4, 5))
    if resume:
        trainer.restore(resume)
    reports = []
    for report in trainer.epochs():
        reports.append([report["train"]["loss"], report["valid"]["nll"]])
        if trainer.accelerator.is_main_process and report["epoch"] == 1:
            trainer.save(folder / "first", {"title": "t", "data": {}})
    if trainer.accelerator.is_main_process:
        (folder / "reports.json").write_text(json.dumps(reports))
    return reports


def two_processes(batch_size: int, folder: Path) -> list[list[float]]:
    """As `learn`, by two processes, told of one another as `accelerate launch --cpu` tells them."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    told = {**os.environ, "OMP_NUM_THREADS": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    told |= {"MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"}
    command = [sys.executable, __file__, str(batch_size), str(folder)]
    ranks = [{"RANK": rank, "LOCAL_RANK": rank} for rank in ("0", "1")]
    workers = [subprocess.Popen(command, env=told | rank, stderr=subprocess.PIPE, text=True) for rank in ranks]
    errors = [worker.communicate(timeout=200)[1] for worker in workers]
    assert all(worker.returncode == 0 for worker in workers), errors
    return json.loads((folder / "reports.json").read_text())


def test_two_processes_learn_what_one_does_with_the_doubled_batch_and_one_goes_on_from_two(tmp_path):
    folders = alone, together, gone_on = [tmp_path / name for name in ("alone", "together", "gone-on")]
    for folder in folders:
        folder.mkdir()
    expected = learn(8, alone)
    assert two_processes(4, together) == [pytest.approx(epoch, rel=1e-3) for epoch in expected]
    assert sorted(path.name for path in together.iterdir()) == ["first", "reports.json"]  # one of them wrote
    assert learn(8, gone_on, together / "first") == [pytest.approx(expected[1], rel=1e-3)]


if __name__ == "__main__":
    learn(int(sys.argv[1]), Path(sys.argv[2]))
