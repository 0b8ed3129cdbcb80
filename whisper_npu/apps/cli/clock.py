"""When the program started: imported before all else, since imports take their time."""

from time import perf_counter

START = perf_counter()
