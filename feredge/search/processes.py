"""Several workers, each in a process of its own; one that is killed is replaced."""

from __future__ import annotations

import signal
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from feredge.errors import FeredgeError, RunError
from feredge.inference.parallel import exit_with_parent
from feredge.inference.spawn import IndependentContext
from feredge.progress import Progress, quiet
from feredge.search.worker import POLL_SECONDS, Search, WorkerOptions

MAX_RESTARTS = 3
"""How often a killed worker process is started again: per worker on average, since a trial last ended."""


def _work(options: WorkerOptions, pipe: Connection) -> None:
    """Run a worker process; send the message and exit code of an error through the pipe."""
    exit_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends its workers
    if options.threads is not None:
        from feredge.keras import tf

        tf.config.threading.set_intra_op_parallelism_threads(options.threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    try:
        Search(options).run()
    except FeredgeError as error:
        pipe.send((str(error), error.exit_code))


def run_workers(options: WorkerOptions, count: int, progress: Progress = quiet) -> None:
    """Run `count` worker processes until the study has enough trials, or the time has passed.

    A worker that is killed is started again; its trial goes on in any of them.

    Raises:
        RunError: workers were killed more than MAX_RESTARTS times each, on average, since a trial last ended.
        FeredgeError: the first error of a worker.
    """
    search = Search(options, progress)
    context = IndependentContext()
    workers: list[tuple[BaseProcess, Connection]] = []

    def start() -> None:
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(options, sender), daemon=True)
        process.start()
        sender.close()
        workers.append((process, receiver))

    for _ in range(count):
        start()
    kills, ended_at_kill = 0, 0
    try:
        while workers:
            results = search.report()
            wait([process.sentinel for process, _ in workers], timeout=POLL_SECONDS)
            for process, receiver in [one for one in workers if not one[0].is_alive()]:
                workers.remove((process, receiver))
                if receiver.poll():
                    _raise_error(receiver)
                if process.exitcode == 0:
                    continue
                ended = len(results.complete)
                kills, ended_at_kill = (kills + 1 if ended == ended_at_kill else 1), ended
                if kills > MAX_RESTARTS * count:
                    raise RunError(f"{options.folder}: worker processes are killed again and again (out of memory?)")
                start()
    finally:
        for process, _ in workers:
            process.terminate()
            process.join()


def _raise_error(receiver: Connection) -> None:
    """Raise the error that a worker sent; nothing for one that was killed before it sent any."""
    with suppress(EOFError):
        message, exit_code = receiver.recv()
        error = FeredgeError(message)
        error.exit_code = exit_code
        raise error
