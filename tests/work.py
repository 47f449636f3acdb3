"""Work counted in calls: the same on every machine, however busy it is."""

import cProfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def calls_at_most(bound: int) -> Iterator[None]:
    """The body calls no more functions than this, C functions included; 10 million take one to three seconds."""
    profile = cProfile.Profile()
    profile.enable()
    try:
        yield
    finally:
        profile.disable()
    calls = sum(entry.callcount for entry in profile.getstats())
    assert calls <= bound, f"{calls:,} calls"
