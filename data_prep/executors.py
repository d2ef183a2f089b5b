"""Work carried out by any executor: the processes of this machine or a Dask cluster, whatever dies under them."""

import multiprocessing
import os
import threading
from collections import Counter, deque
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, ProcessPoolExecutor, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice

DEATHS = 3  # of the process of one task, before the task is blamed
CONNECT_S = 30


@contextmanager
def processes(workers):
    """Yield an executor of so many processes and how many tasks keep it busy; one worker is this process itself.

    workers: int.
    """
    if workers <= 1:
        pool = ThreadPoolExecutor(1)
    else:
        pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _die_with_parent)
    try:
        yield pool, lambda: 2 * max(workers, 1)
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def cluster(address):
    """Yield an executor on a running Dask cluster and how many tasks keep it busy, as workers come and go.

    address: the scheduler's, such as tcp://10.0.0.1:8786. The workers see the folders under the same names as this
    process. Raises ValueError without dask, OSError where no scheduler answers or has a worker.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise ValueError("--scheduler needs Dask: python -m pip install dask[distributed]") from error
    with Client(address, timeout=CONNECT_S) as client:
        client.wait_for_workers(1, timeout=2 * CONNECT_S)
        yield client.get_executor(), lambda: max(2 * sum(client.nthreads().values()), 2)


def completed(work, tasks, connect):
    """Yield (task, work(task)) for each task as it is done, with few under way at once.

    work: a module-level function; tasks: iterable of anything picklable, read as there is room; connect: a function
    that gives `processes` or `cluster`. What a killed process had under way is done again, one task at a time, so that
    a task that kills its process every time is known: RuntimeError names it. Errors of `work` end it all.
    """
    tasks, again, deaths = iter(tasks), deque(), Counter()
    while True:
        with connect() as (executor, busy):
            pending = {}  # task -> future
            try:
                while True:
                    if not again:
                        new = list(islice(tasks, max(busy() - len(pending), 0)))
                    else:
                        new = [] if pending else [again.popleft()]
                    pending |= dict.fromkeys(new)
                    for task in new:
                        pending[task] = executor.submit(work, task)
                    if not pending:
                        return
                    wait(pending.values(), return_when=FIRST_COMPLETED)
                    for task in [task for task, future in pending.items() if future.done()]:
                        error = pending[task].exception()
                        if error and not isinstance(error, BrokenExecutor):
                            error.add_note(f"while making {task}")
                        yield task, pending[task].result()
                        del pending[task]
            except BrokenExecutor:
                deaths.update(list(pending) if len(pending) == 1 else ())
                for task in pending:
                    if deaths[task] == DEATHS:
                        raise RuntimeError(f"the process of {task} was killed {DEATHS} times: out of memory?") from None
                again.extend(pending)  # at the end: all others come first


def _die_with_parent():
    """End this process with its parent: a worker left over would wait for ever, holding the files it was at."""

    def watch():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
