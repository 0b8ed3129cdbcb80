"""Detached signatures by OpenSSH, which most systems have: `ssh-keygen -Y sign` and `-Y verify`.

A signature counts for this purpose only (its namespace is NAMESPACE), so that nothing else that a key has
signed passes for it. Format: openssh-portable, PROTOCOL.sshsig.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from whisper_npu.errors import WhisperNpuError
from whisper_npu.owned import temporary_folder

NAMESPACE = "whisper-npu-kernels"
SIGNER = "whisper-npu"  # the identity that every trusted key has here

# A line of a .pub file or of authorized_keys without options: type, base64, comment.
_PUBLIC_KEY = re.compile(r"((?:ssh-|ecdsa-|sk-)[\w@.-]+) +([A-Za-z0-9+/]+=*)(?: .*)?")


class SignatureError(WhisperNpuError):
    """A signature that does not hold, that cannot be checked, or that cannot be made."""


def public_keys(file: Path) -> tuple[str, ...]:
    """The keys in a file such as id_ed25519.pub, one per line, without comments. Raises SignatureError."""
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise SignatureError(f"public key {file} cannot be read: {error}") from error
    keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    for key in keys:
        if not _PUBLIC_KEY.fullmatch(key):
            raise SignatureError(f"{file} holds {key[:40]!r}, no public key of OpenSSH: give a .pub file")
    if not keys:
        raise SignatureError(f"{file} holds nothing, no public key: give a .pub file")
    return tuple(_PUBLIC_KEY.sub(r"\1 \2", key) for key in keys)


def sign(file: Path, key: Path) -> Path:
    """Sign a file with a private key that asks for no passphrase; gives FILE.sig. Raises SignatureError."""
    _run(["-Y", "sign", "-q", "-f", str(key), "-n", NAMESPACE, str(file)], b"", f"signing with {key}")
    return file.with_name(f"{file.name}.sig")


def verify(content: bytes, signature: bytes, keys: Sequence[str]) -> None:
    """Raises SignatureError unless one of these public keys has signed this content."""
    with temporary_folder() as scratch:
        signers, signed = scratch / "signers", scratch / "signature"
        signers.write_text("".join(f"{SIGNER} {key}\n" for key in keys), "utf-8")
        signed.write_bytes(signature)
        verifying = ["-Y", "verify", "-f", str(signers), "-I", SIGNER, "-n", NAMESPACE, "-s", str(signed)]
        _run(verifying, content, "the signature does not hold")


def _run(arguments: Sequence[str], standard_input: bytes, failure: str) -> None:
    program = shutil.which("ssh-keygen")
    if program is None:
        raise SignatureError("signatures need ssh-keygen, which is not on PATH: install openssh-client")
    done = subprocess.run([program, *arguments], input=standard_input, capture_output=True, check=False)
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).decode(errors="replace").split())
        raise SignatureError(f"{failure}: ssh-keygen says {said!r}")
