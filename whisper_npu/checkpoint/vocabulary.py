"""The tokens of a Hugging Face checkpoint, as faster-whisper and CTranslate2 need them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from whisper_npu.checkpoint.files import read_json, read_small
from whisper_npu.errors import CheckpointError, WhisperNpuError, one_line, quoted
from whisper_npu.untrusted import json_object

END, START, NO_TIMESTAMPS = "<|endoftext|>", "<|startoftranscript|>", "<|notimestamps|>"
# faster-whisper looks up each of these, and fails in the middle of a transcription if it is absent.
_REQUIRED = (END, START, "<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", NO_TIMESTAMPS)
_NO_SPEECH = ("<|nospeech|>", "<|nocaptions|>")
SPECIAL = (*_REQUIRED, *_NO_SPEECH)
_LANGUAGE = re.compile(r"<\|[a-z]{2,3}\|>")
_N_TIMESTAMPS = 1501  # 0.00 to 30.00 seconds in steps of 0.02

# CTranslate2 takes a vocabulary with this token to be multilingual. The token is an accident of the
# vocabulary that all multilingual releases share. Source: WhisperReplica in src/models/whisper.cc.
_MULTILINGUAL_MARK = ""


def write_tokenizer(folder: Path, out: Path) -> dict[str, int]:
    """Write tokenizer.json for a Hugging Face folder; returns token -> id, special tokens included.

    It is the folder's own tokenizer.json, or is built from vocab.json, merges.txt and the special tokens in
    added_tokens.json or tokenizer_config.json. Raises CheckpointError if neither exists, or if a token that
    transcription needs is absent.
    """
    source = folder / "tokenizer.json"
    content = read_small(source) if os.path.isfile(source) else _built(folder)
    tokens = load(content, folder)
    out.write_bytes(content)
    return tokens


def load(tokenizer: bytes, folder: Path) -> dict[str, int]:
    """token -> id, special tokens included, of a tokenizer.json in `folder`.

    Raises CheckpointError if it does not load, or a token that transcription needs is absent.
    """
    from tokenizers import Tokenizer

    with _library(
        f"{folder}: expected a tokenizer in tokenizer.json (or vocab.json and merges.txt), found one that "
        "does not load"
    ):
        json_object(tokenizer)  # what this refuses is none; all else is for the library to judge
        tokens: dict[str, int] = Tokenizer.from_buffer(tokenizer).get_vocab(with_added_tokens=True)
    absent = [token for token in _REQUIRED if token not in tokens]
    if not any(token in tokens for token in _NO_SPEECH):
        absent.append(" or ".join(_NO_SPEECH))
    if absent:
        raise CheckpointError(
            f"{folder}: the tokenizer has no {', '.join(absent)}, without which Whisper cannot be prompted; "
            "copy tokenizer.json from the checkpoint that this one was trained from"
        )
    return tokens


def check(tokens: dict[str, int], n_vocab: int, folder: Path) -> None:
    """Raises CheckpointError where a token or the first timestamp lies beyond the model's last row.

    CTranslate2 does not ask: it would read and write beyond its arrays.
    """
    token = max(tokens, key=lambda token: tokens[token])
    if tokens[token] >= n_vocab:
        raise CheckpointError(
            f"{folder}: token {token[:60]} has id {tokens[token]}, but the model has {n_vocab} tokens "
            "(vocab_size); the tokenizer is another model's: copy the one that this checkpoint was trained "
            "with"
        )
    if tokens[NO_TIMESTAMPS] + 1 == n_vocab:
        raise CheckpointError(
            f"{folder}: no timestamps follow {NO_TIMESTAMPS}, the last of {n_vocab} tokens; the tokenizer is "
            "another model's: copy the one that this checkpoint was trained with"
        )


@contextmanager
def _library(problem: str) -> Iterator[None]:
    """For a call of the tokenizers library: CheckpointError for whatever it raises, a panic included."""
    try:
        yield
    except (WhisperNpuError, KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # it raises plain Exception; a panic (pyo3's) is none
        raise CheckpointError(f"{problem} ({one_line(error)}); save the processor again") from error


def _built(folder: Path) -> bytes:
    """tokenizer.json's content, built from the files of the slow tokenizer."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    vocab, merges = folder / "vocab.json", folder / "merges.txt"
    if missing := [path.name for path in (vocab, merges) if not os.path.isfile(path)]:
        raise CheckpointError(
            f"{folder} lacks tokenizer.json, and {' and '.join(missing)} to build it; save the processor "
            "beside the model (WhisperProcessor.save_pretrained)"
        )
    with _library(f"{vocab} and {merges.name} do not load"):
        tokenizer = Tokenizer(models.BPE(_ids(vocab), _pairs(merges)))
    # As in GPT-2, whose text tokens Whisper uses.
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    parts = json.loads(tokenizer.to_str())
    # Added by hand, because add_special_tokens would assign its own ids from the vocabulary's end.
    parts["added_tokens"] = [
        {"id": number, "content": token, **flags} for number, token in sorted(_added(folder).items())
    ]
    with _library(f"{folder}: the special tokens do not load"):
        content = json.dumps(parts, ensure_ascii=False).encode()
        loaded = Tokenizer.from_buffer(content).get_vocab(with_added_tokens=True)
    for number, token in _added(folder).items():
        if loaded.get(token) != number:
            raise CheckpointError(
                f"{folder}: special token {quoted(token)} has id {number}, but a tokenizer can only give it "
                f"{loaded.get(token)}; save the processor again, with tokenizer.json"
            )
    return content


def _ids(vocab: Path) -> dict[str, int]:
    ids = read_json(vocab)
    if wrong := next((token for token, number in ids.items() if type(number) is not int or number < 0), None):
        raise CheckpointError(f"{vocab}: token {wrong[:60]!r} has no id; save the processor again")
    return ids


def _pairs(merges: Path) -> list[tuple[str, str]]:
    """The lines of merges.txt, as GPT-2's format has them: a pair in each, after a line with the version."""
    pairs = []
    for line in read_small(merges).decode("utf-8").split("\n"):
        first, _, second = line.rstrip("\r").partition(" ")
        if second and not line.startswith("#version"):
            pairs.append((first, second))
    return pairs


def _added(folder: Path) -> dict[int, str]:
    """id -> special token, from tokenizer_config.json and added_tokens.json."""
    added: dict[int, str] = {}
    config, listed = folder / "tokenizer_config.json", folder / "added_tokens.json"
    try:
        if os.path.isfile(config):
            entries = read_json(config).get("added_tokens_decoder", {})
            added |= {int(number): str(entry["content"]) for number, entry in entries.items()}
        if os.path.isfile(listed):
            added |= {int(number): str(token) for token, number in read_json(listed).items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{folder}: added tokens in {config.name} or {listed.name} are not pairs of token and id "
            f"({one_line(error)}); save the processor again"
        ) from error
    return added


def listed(tokens: dict[str, int], n_vocab: int, multilingual: bool | None, folder: Path) -> list[str]:
    """One token for every row of the embedding, in the order of ids, all different.

    Rows that the tokenizer does not name are timestamps, as in OpenAI's files, or have no token.
    `multilingual` is what the checkpoint says about itself; None: its vocabulary decides.
    Raises CheckpointError if a special token lies beyond the last row, if two tokens share an id, or if the
    checkpoint calls itself multilingual and CTranslate2 could not tell.
    """
    check(tokens, n_vocab, folder)
    if multilingual and _MULTILINGUAL_MARK not in tokens:
        raise CheckpointError(
            f"{folder}: generation_config.json says is_multilingual, but the tokenizer is an English-only "
            "model's: copy tokenizer.json from the checkpoint that this one was trained from"
        )
    names = {number: token for token, number in tokens.items()}
    if len(names) < len(tokens):
        token, other = next((names[n], t) for t, n in tokens.items() if names[n] != t)
        raise CheckpointError(
            f"{folder}: tokens {quoted(token)} and {quoted(other)} share the id {tokens[token]}; "
            "save the processor again"
        )
    if multilingual is False and _MULTILINGUAL_MARK in tokens:
        del names[tokens[_MULTILINGUAL_MARK]]
    first = tokens[NO_TIMESTAMPS] + 1
    for step in range(_N_TIMESTAMPS):
        timestamp = f"<|{step * 0.02:.2f}|>"
        if timestamp not in tokens:
            names.setdefault(first + step, timestamp)
    return [names.get(number, f"<|unused{number}|>") for number in range(n_vocab)]


def whisper_config(
    tokens: list[str], generation: dict[str, Any], config: dict[str, Any], n_layer: int, n_head: int
) -> dict[str, list[Any]]:
    """CTranslate2's config.json: from generation_config.json, else config.json, else from the tokens.

    n_layer, n_head: the decoder's.
    """
    ids = {token: number for number, token in enumerate(tokens)}

    def numbers(value: Any) -> list[int] | None:
        if not isinstance(value, list):
            return None
        found = (number for number in value if type(number) is int and 0 <= number < len(tokens))
        return list(dict.fromkeys(found))

    def first(*values: list[int] | None) -> list[int]:
        return next((value for value in values if value is not None), [])

    def setting(key: str) -> list[int] | None:
        found = numbers(generation.get(key))
        return numbers(config.get(key)) if found is None else found

    by_name = [number for token, number in ids.items() if _LANGUAGE.fullmatch(token) and number > ids[START]]
    by_language = generation.get("lang_to_id")
    named = numbers(list(by_language.values())) if isinstance(by_language, dict) else None
    languages = [number for number in named or () if number in by_name]  # any other token would be "detected"
    # A transcript neither begins with a blank, nor is it empty.
    blank = [ids[token] for token in ("Ġ", END) if token in ids]
    return {
        "suppress_ids": first(setting("suppress_tokens")),
        "suppress_ids_begin": first(setting("begin_suppress_tokens"), blank),
        "lang_ids": sorted(languages or by_name),
        "alignment_heads": _alignment_heads(generation.get("alignment_heads"), n_layer, n_head),
    }


def _alignment_heads(value: Any, n_layer: int, n_head: int) -> list[list[int]]:
    """The (layer, head) pairs whose cross-attention yields word timestamps."""
    pairs = value if isinstance(value, list) else []
    heads = [
        [layer, head]
        for layer, head in (pair for pair in pairs if isinstance(pair, list) and len(pair) == 2)
        if type(layer) is type(head) is int and layer in range(n_layer) and head in range(n_head)
    ]
    # A fine-tuned model with fewer decoder layers may have its parent's list: drop what is out of range.
    # If a checkpoint names none, CTranslate2's converter also takes all heads of the last half.
    distinct = [list(pair) for pair in dict.fromkeys(map(tuple, heads))]
    return distinct or [[layer, head] for layer in range(n_layer // 2, n_layer) for head in range(n_head)]
