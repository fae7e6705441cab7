"""A process that works on a study's trials without training: `python trial_process.py STUDY COUNT [URL]`.

The value of a trial depends on its parameters only. It prints the number of each trial that it ends.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from optuna.trial import TrialState

from feredge.recipes.schema import Recipe
from feredge.search.study import StudyFolder
from feredge.search.trials import ClaimedTrial, TrialStore

EPOCH_SECONDS = 0.05
StartProcess = Callable[..., "subprocess.Popen[str]"]


def value_of(recipe: Recipe) -> float:
    """Return the value of a trial."""
    return recipe.network.stem / 100 + recipe.training.learning_rate


def work(store: TrialStore, claimed: ClaimedTrial, draw: Callable[..., Recipe]) -> None:
    """Report at epoch 1 what is the value in the end."""
    value = value_of(store.call(lambda: draw(claimed.trial)))
    time.sleep(EPOCH_SECONDS)
    pruned = claimed.report(1, value)
    time.sleep(EPOCH_SECONDS)
    claimed.end(TrialState.PRUNED if pruned else TrialState.COMPLETE, None if pruned else value)


def main(folder: Path, count: int, url: str | None = None) -> None:
    """Run trials until the study has `count`."""
    study = StudyFolder(folder)
    settings = study.settings()
    store = TrialStore(study, settings, url)
    while True:
        claimed = store.next(count)
        if claimed is None:
            if not store.running():
                return
            time.sleep(0.1)
            continue
        work(store, claimed, settings.parsed_space.draw)
        claimed.release()
        print(claimed.trial.number, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:4])
