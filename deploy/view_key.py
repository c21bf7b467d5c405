"""The secret under which a view counts cards, and what keeps views of two secrets apart."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

from alerts.redis_view import Client, RedisDraft, RedisOptions, RedisView
from alerts.view import MAX_KEY, MIN_KEY, Change, ViewLost
from deploy.atomic import PRIVATE
from deploy.settings import Settings
from ingest.errors import UsageError

KEY_FILE = "view.key"
_MAX_FILE = 256


def view_key(settings: Settings) -> bytes:
    """The installation's secret: the content of ``view_secret_file``, without white space around it.

    Without that setting it is made once, at random, and kept below ``state_dir`` for its owner alone.  A file that is
    named must be there: a secret that is lost or not yet mounted must not be replaced by another in silence.  Raises
    ``UsageError``, which never repeats it.
    """
    path = settings.view_secret_file
    if path is None:
        path = settings.state_dir / KEY_FILE
        _make(path)
    try:
        with path.open("rb") as file:
            key = file.read(_MAX_FILE + 1).strip()
    except OSError as error:
        message = f"{path}: the view's secret can't be read: {error.strerror}"
        raise UsageError(message) from error
    if not MIN_KEY <= len(key) <= MAX_KEY:
        message = f"{path}: the view's secret must have {MIN_KEY} to {MAX_KEY} bytes, say of `openssl rand -hex 24`"
        raise UsageError(message)
    return key


def _make(path: Path) -> None:
    """A secret at ``path``, if none is there; of several processes that make one at a time, the first one's stays."""
    if path.exists():
        return
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "xb", opener=lambda name, flags: os.open(name, flags, PRIVATE)) as file:
            file.write(secrets.token_urlsafe(32).encode())
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(part, path)
        except FileExistsError:
            pass
        finally:
            part.unlink()
    except OSError as error:
        message = (
            f"{path.parent}: the view's secret can't be kept there: {error.strerror}; name a file with one by "
            "ATMWATCH_VIEW_SECRET_FILE"
        )
        raise UsageError(message) from error


class KeyedView(RedisView):
    """A Redis view of one scope that knows under which secret it was written.

    One of another secret is as good as none: its cards would be counted again.  So its writer builds it anew.  Which
    secret it was is told by a partition that no journal has, named after the secret's digest, whose position is
    written with the draft.
    """

    def __init__(self, client: Client, scope: str, key: bytes, options: RedisOptions | None = None) -> None:
        super().__init__(client, scope, options)
        self._mark = f"secret/{blake2b(key, digest_size=8, person=b'atmwatch-keyid').hexdigest()}"

    def published(self) -> bool:
        return super().published() and self._ours()

    def apply(self, partition: str, offset: int, changes: Sequence[Change], *, after: int | None) -> None:
        if not self._ours():
            message = "the view was flushed, or written under another secret"
            raise ViewLost(message)
        super().apply(partition, offset, changes, after=after)

    def draft(self) -> RedisDraft:
        draft = super().draft()
        draft.apply(self._mark, 0, [], after=None)
        return draft

    def _ours(self) -> bool:
        return self.position(self._mark) is not None
