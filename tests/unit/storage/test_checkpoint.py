"""What a writer remembers across a stop, through its checkpoint."""

from __future__ import annotations

from shared.config import store_from_env
from shared.domain.freeze_policy import FreezePolicy
from shared.domain.state import FROZEN
from shared.ingest.spool_writer import SpoolWriter
from shared.storage.writer import Writer
from tests.support.builders import commit_requests, segment


def test_i4_a_record_that_is_delivered_again_is_known_after_a_clean_stop(tmp_path):
    """The last group of a spool that is still in use: its ingest may not have heard the verdict."""
    config = store_from_env({"ROOT": str(tmp_path / "store")})
    spool, writer = SpoolWriter.from_config(config), Writer(config)
    writer.open()
    group = commit_requests(spool, [segment(3), segment(4)])
    verdicts = writer.commit(group)
    writer.close()
    writer = Writer(config)
    writer.open()
    assert writer.commit(group) == verdicts
    assert writer.state().segments == 2
    writer.close()
    spool.close()


def test_the_strain_that_was_measured_is_remembered(tmp_path):
    """A batch freezes by itself after as much strain as without a stop in between; measuring may begin at a start."""
    config = store_from_env({"ROOT": str(tmp_path / "store")})
    spool = SpoolWriter.from_config(config)
    for policy in (
        FreezePolicy(min_bytes=1, min_seconds=1e9, auto=True),
        FreezePolicy(),
        FreezePolicy(min_bytes=1, min_seconds=3, auto=True),
    ):
        writer = Writer(config, policy=policy)
        writer.open()
        number = writer.state().segments
        writer.commit(commit_requests(spool, [segment(1 + number)], t0=float(number), dt=1.0, samples=1))
        state = writer.state()
        writer.close()
    assert (state.segments, state.status) == (3, FROZEN)
    spool.close()
