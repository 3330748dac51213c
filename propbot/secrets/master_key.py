"""The key that seals `secrets.enc`: from a file, from the environment, or in paper from a file that is made for it.

Never in the data directory: who copies that must not have both. Paper's file lies in the configuration folder of the
user, and is made when the first secret is stored.
"""

from __future__ import annotations

import os
from pathlib import Path

from attrs import field, frozen

from propbot.kit.disk import sync_folder
from propbot.secrets.sealing import KEY_BYTES, RandomBytes, parse_key

PAPER_KEY_FILE = Path("propbot") / "paper-secrets.key"
"""Under XDG_CONFIG_HOME."""
FILE_BYTES_MAX = 4096
HOW_TO_MAKE = "openssl rand -base64 32 > FILE; chmod 400 FILE"


@frozen
class MasterKey:
    """`key` is None where there is none yet: `make_at` then says where one may be made, or None that it may not."""

    key: bytes | None = field(default=None, repr=False)
    whence: str = "no key is set"
    make_at: Path | None = None


def read_key_file(path: Path) -> bytes:
    """OSError if it can't be read, ValueError if it holds no key."""
    with open(path, "rb") as file:
        return parse_key(file.read(FILE_BYTES_MAX).decode("ascii", "replace"))


def find_master_key(text: str | None, path: Path | None, paper_path: Path | None) -> MasterKey:
    """`text` and `path` are settings, at most one of them given; OSError or ValueError where they are not sound, which
    the start has looked at. `paper_path`: where one may be made."""
    if text is not None:
        return MasterKey(parse_key(text), "SECRETS_KEY")
    if path is not None:
        return MasterKey(read_key_file(path), f"SECRETS_KEY_FILE={path}")
    if paper_path is None:
        return MasterKey()
    try:
        return MasterKey(read_key_file(paper_path), str(paper_path))
    except FileNotFoundError:
        return MasterKey(None, f"{paper_path} (not made yet)", paper_path)
    except (OSError, ValueError) as error:
        return MasterKey(None, f"{paper_path}: {error}")


def make_key_file(path: Path, random_bytes: RandomBytes) -> MasterKey:
    """A new key, durable, for its owner alone, or the one that another instance has just made. Blocking. OSError if
    it can't be made."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(random_bytes(KEY_BYTES).hex().encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(temporary, path)  # under its name whole or not at all, and never over another one
    except FileExistsError:
        pass
    finally:
        temporary.unlink()
    sync_folder(path.parent)
    return MasterKey(read_key_file(path), str(path))
