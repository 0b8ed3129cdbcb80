"""What may happen to any valid recording: cut, overwritten, flipped bits, joined with another one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from tests.fuzz.hostile import EITHER, REFUSED, Expected, Hostile, reads
from tests.fuzz.valid import SECONDS, Valid, valid_recordings

_SLACK = 0.3  # seconds: a frame or two, and what encoders put before the first sample
_WHOLE = reads(SECONDS - _SLACK)

_Mutation = Callable[[Valid, Random], tuple[bytes, Expected]]


def mutated(seed: int) -> Iterator[Hostile]:
    """Every valid recording in every way."""
    for valid in valid_recordings().values():
        yield Hostile(f"{valid.name}/as it is", valid.suffix, valid.content, _WHOLE)
        for what, mutation in _MUTATIONS.items():
            content, expected = mutation(valid, Random(f"{seed} {valid.name} {what}"))
            yield Hostile(f"{valid.name}/{what}", valid.suffix, content, expected)


def _any_bytes(valid: Valid) -> bool:
    """Whether random bytes can be its samples. Floats of random bytes are refused: they are huge, or NaN."""
    return not valid.name.endswith(("float", "double"))


def _cut(fraction: float) -> _Mutation:
    def cut(valid: Valid, _: Random) -> tuple[bytes, Expected]:
        left = fraction * SECONDS
        expected = EITHER  # the header may be cut as well
        slack = 0.75 if fraction < 0.9 else 1.0  # a block of some formats lasts a second
        if fraction >= 0.5 and valid.survives_cut:
            expected = reads(left - slack, left + slack, warned=valid.states_length and fraction < 0.9)
        elif fraction <= 0.5 and not valid.survives_cut:
            expected = REFUSED
        return valid.content[: int(len(valid.content) * fraction)], expected

    return cut


def _cut_to(n_bytes: int) -> _Mutation:
    return lambda valid, _: (valid.content[:n_bytes], EITHER)


def _overwritten(place: float) -> _Mutation:
    """40 bytes, as where a disk has a bad sector."""

    def overwritten(valid: Valid, random: Random) -> tuple[bytes, Expected]:
        start = int(len(valid.content) * place)
        content = bytearray(valid.content)
        content[start : start + 40] = random.randbytes(40)
        return bytes(content), reads(SECONDS / 2) if place == 0.5 and _any_bytes(valid) else EITHER

    return overwritten


def _flipped(share: float) -> _Mutation:
    """share: of the bits."""

    def flipped(valid: Valid, random: Random) -> tuple[bytes, Expected]:
        content = bytearray(valid.content)
        for _ in range(max(1, int(8 * len(content) * share))):
            content[random.randrange(len(content))] ^= 1 << random.randrange(8)
        return bytes(content), EITHER

    return flipped


def _without_a_piece(valid: Valid, random: Random) -> tuple[bytes, Expected]:
    size = len(valid.content)
    start = random.randrange(size // 3, size // 2)
    return valid.content[:start] + valid.content[start + size // 10 :], EITHER


def _with_a_piece_twice(valid: Valid, random: Random) -> tuple[bytes, Expected]:
    size = len(valid.content)
    start = random.randrange(size // 2)
    piece = valid.content[start : start + size // 10]
    return valid.content[:start] + piece * 2 + valid.content[start + len(piece) :], EITHER


def _shuffled(valid: Valid, random: Random) -> tuple[bytes, Expected]:
    """Blocks of 512 bytes in another order, the first aside."""
    blocks = [valid.content[start : start + 512] for start in range(0, len(valid.content), 512)]
    rest = blocks[1:]
    random.shuffle(rest)
    return b"".join([blocks[0], *rest]), EITHER


def _zeroed(valid: Valid, random: Random) -> tuple[bytes, Expected]:
    """The second half, as a file system leaves it after a crash."""
    half = len(valid.content) // 2
    return valid.content[:half] + bytes(len(valid.content) - half), EITHER


def _followed_by(tail: Callable[[Random], bytes]) -> _Mutation:
    """It may be taken for more sound: a header that says too little is no reason to stop."""
    return lambda valid, random: (valid.content + tail(random), _WHOLE if _any_bytes(valid) else EITHER)


def _preceded_by(head: Callable[[Random], bytes]) -> _Mutation:
    return lambda valid, random: (head(random) + valid.content, EITHER)


def _joined_with_itself(valid: Valid, _: Random) -> tuple[bytes, Expected]:
    return 2 * valid.content, _WHOLE


def _joined_with_another(valid: Valid, random: Random) -> tuple[bytes, Expected]:
    other = random.choice([one for one in valid_recordings().values() if one.name != valid.name])
    return valid.content + other.content, EITHER


def _head_of_another(valid: Valid, random: Random) -> tuple[bytes, Expected]:
    other = random.choice([one for one in valid_recordings().values() if one.name != valid.name])
    return other.content[:256] + valid.content[256:], EITHER


def _header_again_and_again(valid: Valid, _: Random) -> tuple[bytes, Expected]:
    return 500 * valid.content[:64] + valid.content, EITHER


_MUTATIONS: dict[str, _Mutation] = {
    "cut to 12 bytes": _cut_to(12),
    "cut to 60 bytes": _cut_to(60),
    "cut at 2 %": _cut(0.02),
    "cut at 25 %": _cut(0.25),
    "cut at half": _cut(0.5),
    "cut at 99 %": _cut(0.99),
    "overwritten at the start": _overwritten(0.002),
    "overwritten at 10 %": _overwritten(0.1),
    "overwritten in the middle": _overwritten(0.5),
    "overwritten at the end": _overwritten(0.98),
    "0.01 % of bits flipped": _flipped(1e-4),
    "0.1 % of bits flipped": _flipped(1e-3),
    "1 % of bits flipped": _flipped(1e-2),
    "5 % of bits flipped": _flipped(5e-2),
    "without a piece": _without_a_piece,
    "with a piece twice": _with_a_piece_twice,
    "in disorder": _shuffled,
    "half of it zeros": _zeroed,
    "zeros behind it": _followed_by(lambda _: bytes(4096)),
    "garbage behind it": _followed_by(lambda random: random.randbytes(4096)),
    "zeros before it": _preceded_by(lambda _: bytes(512)),
    "garbage before it": _preceded_by(lambda random: random.randbytes(512)),
    "joined with itself": _joined_with_itself,
    "joined with another format": _joined_with_another,
    "under another header": _head_of_another,
    "its header 500 times": _header_again_and_again,
}
