"""The machine under this process: the cores it may use, and how OpenMP's threads wait for one another."""

import os

SPIN_COUNT = "10000"  # chosen by measurement: experiments/threads/README.md; libgomp's own default is 300,000
WAIT_VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")  # GNU's and LLVM's runtimes


def core_count() -> int:
    """Return how many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def limit_spinning() -> None:
    """Let OpenMP's threads spin only briefly before they sleep, unless the user has said how they wait.

    A spinning thread holds its core while another program, or the thread it waits for, wants it. The setting is an
    environment variable that GNU's runtime (libgomp, which torch uses on Linux) reads when torch is imported: call
    this before that, from a program's start and never from a library. Processes started later inherit it; other
    OpenMP runtimes ignore it.
    """
    if not any(name in os.environ for name in WAIT_VARIABLES):
        os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT


def thread_settings() -> dict[str, str]:
    """Return the variables in this process' environment that say how many threads OpenMP has and how they wait."""
    return {name: os.environ[name] for name in ("OMP_NUM_THREADS", *WAIT_VARIABLES) if name in os.environ}
