"""Trials shared by several processes, in a journal and in a database; kills, and storages that go away."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from optuna.trial import TrialState
from postgres_server import PostgresServer
from trial_process import StartProcess

from feredge.errors import RunError
from feredge.search import storage, trials
from feredge.search.storage import Retries, StorageError, open_database, open_journal, without_password
from feredge.search.study import StudyFolder
from feredge.search.trials import TrialStore

PROCESSES, COUNT = 4, 12


def check_trials(store: TrialStore) -> None:
    """Check that a study has COUNT trials that ended, with the values of their parameters."""
    ended = [trial for trial in store.trials() if trial.state != TrialState.FAIL]
    assert len(ended) == COUNT and {trial.state for trial in ended} <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert len({trial.user_attrs["folder"] for trial in ended}) == COUNT
    for trial in ended:
        assert trial.intermediate_values == {1: trial.value} and trial.value is not None
        assert trial.value == pytest.approx(trial.params["network.stem"] / 100 + trial.params["training.learning_rate"])


def test_processes_share_a_journal(untrained_study: StudyFolder, start_process: StartProcess) -> None:
    """Guards several workers on one machine: no trial is run twice, none is missing, one that is killed goes on."""
    victim, *others = [start_process(untrained_study, COUNT) for _ in range(PROCESSES)]
    time.sleep(2.0)  # somewhere in its first trials
    victim.kill()
    outputs = [process.communicate(timeout=120) for process in others]
    assert all(process.returncode == 0 for process in others), outputs
    check_trials(TrialStore(untrained_study, untrained_study.settings()))
    assert start_process(untrained_study, COUNT).communicate(timeout=60)[0] == ""  # nothing is left to do


def test_a_trial_is_taken_up_by_another(untrained_study: StudyFolder) -> None:
    """Guards a trial whose process died: it keeps number, folder, parameters and reports; one at work is not taken."""
    settings = untrained_study.settings()
    first, second = (TrialStore(untrained_study, settings) for _ in range(2))
    claimed = first.next(1)
    assert claimed is not None and second.next(1) is None and second.running()
    recipe = settings.parsed_space.draw(claimed.trial)
    claimed.report(1, 0.5)
    claimed.release()  # as the end of its process does
    again = second.next(1)
    assert again is not None and again.name == claimed.name and again.trial.number == claimed.trial.number
    assert settings.parsed_space.draw(again.trial) == recipe and again.get("starts") == 2
    again.end(TrialState.COMPLETE, 0.6)
    again.release()
    assert first.next(1) is None and not first.running() and first.trials()[0].intermediate_values == {1: 0.5}


def test_a_folder_outside_of_the_study_is_refused(untrained_study: StudyFolder) -> None:
    """Guards files elsewhere against a storage that someone else wrote: folders of trials are written and cleaned."""
    store = TrialStore(untrained_study, untrained_study.settings())
    claimed = store.next(1)
    assert claimed is not None
    claimed.set("folder", "../../runs")
    claimed.release()
    with pytest.raises(RunError, match=r"expected a trial's number as the name of its folder, found '\.\./\.\./runs'"):
        store.next(1)


def test_a_line_written_in_part_is_removed(untrained_study: StudyFolder) -> None:
    """Guards the journal of a study whose process was killed in a write."""
    claimed = TrialStore(untrained_study, untrained_study.settings()).next(1)
    assert claimed is not None
    claimed.release()
    with untrained_study.journal.open("ab") as file:
        file.write(b'{"op_code": 4, "worker')
    store = TrialStore(untrained_study, untrained_study.settings())
    again = store.next(1)
    assert again is not None and again.trial.number == 0 and len(store.trials()) == 1
    again.release()


def test_processes_share_a_database(
    untrained_study: StudyFolder, postgres: PostgresServer, start_process: StartProcess
) -> None:
    """Guards workers on several machines, here in several processes."""
    processes = [start_process(untrained_study, COUNT, postgres.url) for _ in range(2)]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert all(process.returncode == 0 for process in processes), outputs
    check_trials(TrialStore(untrained_study, untrained_study.settings(), postgres.url))


def test_a_trial_without_heartbeat_goes_on_elsewhere(
    untrained_study: StudyFolder, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Guards a machine that disappears: another one, with another folder, goes on with what it has reported."""
    defaults = {"heartbeat_seconds": 1, "grace_seconds": 5}  # five chances on a busy machine
    monkeypatch.setattr(trials, "open_database", lambda url: open_database(url, **defaults))
    settings = untrained_study.settings()
    url = postgres.url.replace("/s", "/postgres")
    first, second = TrialStore(untrained_study, settings, url), TrialStore(StudyFolder(tmp_path / "2"), settings, url)
    claimed = first.next(1)
    assert claimed is not None
    recipe = settings.parsed_space.draw(claimed.trial)
    claimed.report(1, 0.5)
    time.sleep(6.0)
    assert second.next(1) is None  # its heart beats
    claimed.release()
    deadline = time.monotonic() + 30
    while (again := second.next(1)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert again.name == claimed.name and again.trial.number == 1 and again.get("starts") == 2
    assert settings.parsed_space.draw(again.trial) == recipe
    assert second.trials()[1].intermediate_values == {1: 0.5}
    again.end(TrialState.COMPLETE, 0.6)
    again.release()
    assert first.next(1) is None


def test_a_database_that_goes_away(
    untrained_study: StudyFolder, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards a study against a restart of its database; after a while without one it ends in a line, no password."""
    settings = untrained_study.settings()
    store = TrialStore(untrained_study, settings, postgres.url)
    claimed = store.next(None)
    assert claimed is not None
    postgres.stop()
    restart = threading.Timer(1.0, postgres.start)
    restart.start()
    claimed.set("note", "stored")
    restart.join()
    assert claimed.get("note") == "stored"
    postgres.stop()
    try:
        store._retries = Retries(without_password(postgres.url), seconds=0.5)
        with pytest.raises(StorageError, match=r"feredge:\*\*\*@.*expected a database that responds") as caught:
            store.trials()
        monkeypatch.setattr(storage, "CONNECT_SECONDS", 0.5)
        with pytest.raises(StorageError, match="expected a database that responds") as refused:
            open_database(postgres.url)
        assert "verysecret" not in f"{caught.value}{refused.value}"
    finally:
        postgres.start()
    claimed.release()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite:///study.db", "expected a database server, found SQLite"),
        ("postgresql+psycopg//host", "Could not parse"),
        ("postgresql+psycopgg://user:verysecret@host/s", "Can't load plugin"),
    ],
)
def test_an_unusable_database_is_one_line(url: str, message: str) -> None:
    """Guards mistyped URLs."""
    with pytest.raises(StorageError) as caught:
        open_database(url)
    assert message in str(caught.value) and "verysecret" not in str(caught.value)


def test_a_journal_is_one_file(tmp_path: Path) -> None:
    """Guards a new study: its journal is made when it is first written."""
    open_journal(tmp_path / "journal.log")
    assert {path.name for path in tmp_path.iterdir()} <= {"journal.log", ".journal.log.lock"}
