"""A clock that is set while a process runs: the time of day jumps by a day every few readings, back and forth.

Only what reads the time of day sees it; the monotonic clock and the times of files are the system's.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

__all__ = ["jumping_clock"]

_LIBRARY = """
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static unsigned readings;

static long ahead(void) {  /* seconds: a day behind, right, a day ahead, eight readings each */
    return ((long)(__atomic_fetch_add(&readings, 1, __ATOMIC_RELAXED) / 8 % 3) - 1) * 86400;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    long failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += ahead();
    return (int)failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &precise)) return -1;
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *kept) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    if (kept != NULL) *kept = precise.tv_sec;
    return precise.tv_sec;
}
"""


def jumping_clock(folder: Path) -> dict[str, str]:
    """Environment variables of a process whose clock jumps; the test is skipped where that cannot be had.

    Args:
        folder: A folder for a library.
    """
    compiler = shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("the clock is replaced by a library: needs Linux and a C compiler")
    source, library = folder / "clock.c", folder / "clock.so"
    source.write_text(_LIBRARY)
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source], check=True, capture_output=True)
    return {"LD_PRELOAD": str(library)}
