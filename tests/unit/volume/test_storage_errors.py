"""Errors of the kernel, as the store reports them: 507 is only for what storage refuses."""

import errno
import os

import pytest

from shared.errors import Busy, StorageFailed
from shared.volume.posix import storage_errors, sync_filesystem


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_what_the_process_lacks_is_busy(number: int) -> None:
    with pytest.raises(Busy), storage_errors("opening"):
        raise OSError(number, os.strerror(number))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.EDQUOT, errno.ENOENT])
def test_what_the_volume_refuses_is_a_failure_of_storage(number: int) -> None:
    with pytest.raises(StorageFailed), storage_errors("opening"):
        raise OSError(number, os.strerror(number))


def test_a_volume_that_is_gone_cannot_be_synced(tmp_path) -> None:
    with pytest.raises(StorageFailed):
        sync_filesystem(str(tmp_path / "gone"))
