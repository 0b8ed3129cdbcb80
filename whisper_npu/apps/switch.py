"""What words mean as a switch, on a command line and in a form."""

from __future__ import annotations

_SWITCHES = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


def as_switch(word: str) -> bool | None:
    """What a word means as a switch; None if it is no such word."""
    return _SWITCHES.get(word.lower())
