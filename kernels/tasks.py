"""How much one task of a shim says: as many rounds of a fifo as its buffer descriptor has dimensions for.

`shim.py` prints tasks by it, and contracts count them by it without printing any.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from whisper_npu.npu.targets import WORD_BYTES, Target

DIMENSIONS = 4  # of aiex.npu.dma_memcpy_nd

Loop = tuple[int, int]  # turns, and the elements from one to the next
Loops = Sequence[Loop]  # outermost first


def that_turn(loops: Loops) -> list[Loop]:
    return [loop for loop in loops if loop[0] > 1]


def of_one_round(target: Target, loops: Loops) -> list[Loop]:
    """The loops that turn, those that walk on evenly as one: the rows of tiles that lie one below the other.

    The innermost stays as it is, and none gets more turns than a descriptor's wrap can say.
    """
    found: list[Loop] = []
    for count, stride in reversed(that_turn(loops)):
        if len(found) > 1:
            turns, step = found[0]
            if stride == turns * step and count * turns <= target.shim.max_wrap:
                found[0] = count * turns, step
                continue
        found.insert(0, (count, stride))
    return found


def in_one_task(target: Target, nbytes: int, rounds: Loops, of_round: Loops) -> int:
    """How many of the innermost loops of rounds a descriptor can say besides those of a round.

    rounds, of_round: loops that turn. nbytes: of an element. Only the outermost dimension may have stride 0.
    """
    number = 0
    for _, stride in reversed(rounds):
        is_full = number + len(of_round) == DIMENSIONS or (number > 0 and rounds[-number][1] == 0)
        if is_full or stride * nbytes // WORD_BYTES > target.shim.max_step:
            break
        number += 1
    return number


def task_number(target: Target, nbytes: int, rounds: Loops, of_round: Loops) -> int:
    """Tasks of one fifo: the outermost dimension of each has at most `max_repeat` turns."""
    rounds, of_round = that_turn(rounds), of_one_round(target, of_round)
    inside = in_one_task(target, nbytes, rounds, of_round)
    outside = len(rounds) - inside
    outermost = rounds[outside][0] if inside else of_round[0][0] if len(of_round) == DIMENSIONS else 1
    return prod(count for count, _ in rounds[:outside]) * -(-outermost // target.max_repeat)
