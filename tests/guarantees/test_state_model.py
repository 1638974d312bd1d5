"""The writer's core against a model of a few lines: whatever is asked, in whatever order, both tell the same story."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from shared.config import store_from_env
from shared.domain.request_key import Origin, RequestKey
from shared.ingest.spool_writer import SpoolWriter
from shared.storage.writer import Writer
from shared.volume import counters
from shared.volume.layout import Layout
from tests.support.builders import commit_requests, segment
from tests.support.checks import check_archive


def origin(key: str) -> Origin:
    return Origin("", RequestKey("", key) if key else None)


class Model(RuleBasedStateMachine):
    """Two writers serve one volume; each request goes to either of them."""

    stored = Bundle("stored")

    @initialize()
    def begin(self):
        self.folder = Path(tempfile.mkdtemp(prefix="model-"))
        self.config = store_from_env({"ROOT": str(self.folder / "store"), "SPOOL_SIZE": "2000"})
        self.writers = [Writer(self.config), Writer(self.config)]
        for writer in self.writers:
            writer.open()
        self.spool = SpoolWriter.from_config(self.config)
        self.count = 0
        # the model
        self.batch: dict[str, bytes] = {}  # file -> content
        self.frozen = False
        self.user = "databuf"
        self.archives: list[dict[str, bytes]] = []
        self.others: dict[tuple[str, RequestKey], str] = {}  # principal and key of others -> file
        self.first: dict[RequestKey, tuple[str, int]] = {}  # key -> (file, how many archives there were)
        self.asked: dict[tuple[str, str], int] = {}  # kind and key of freezes and cleanalls -> number of the batch

    def teardown(self):
        if not hasattr(self, "folder"):
            return
        self.spool.close()
        for writer in self.writers:
            writer.close()
        folders = (path for path in (self.folder / "store/datavar").iterdir() if (path / "LogStream.json").exists())
        found = [sorted(check_archive(folder).items()) for folder in folders]
        assert sorted(found) == sorted(sorted(archive.items()) for archive in self.archives)
        shutil.rmtree(self.folder)

    def remembered(self, archives: int) -> bool:
        """Keys are answered in the open batch and the last one before it that had any."""
        return len(self.archives) - archives <= 1

    # -- requests -----------------------------------------------------------------------------------------------

    @rule(target=stored, sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6), who=st.integers(0, 1))
    def store(self, sizes, who):
        bodies = []
        for size in sizes:
            self.count += 1
            bodies.append(segment(size, t0=float(self.count)))
        keys = [RequestKey("", f"key-{self.count}-{i}") for i in range(len(bodies))]
        submissions = commit_requests(self.spool, bodies, keys)
        verdicts = self.writers[who].commit(submissions)
        if self.frozen:
            assert all(verdict.code == "FROZEN" for verdict in verdicts)
            return multiple()
        for key, body, verdict in zip(keys, bodies, verdicts, strict=True):
            assert verdict.is_new
            assert verdict.size == len(body)
            assert verdict.name not in self.batch
            self.batch[verdict.name] = body
            self.first[key] = verdict.name, len(self.archives)
        return multiple(*submissions)

    @rule(submission=stored, who=st.integers(0, 1))
    def deliver_again(self, submission, who):
        name, archives = self.first[submission.key]
        if self.remembered(archives):
            [verdict] = self.writers[who].commit([submission])
            assert (verdict.name, verdict.size) == (name, submission.size)

    @rule(submission=stored, size=st.integers(1, 40), who=st.integers(0, 1))
    def send_again_with_the_key(self, submission, size, who):
        name, archives = self.first[submission.key]
        if self.remembered(archives):
            [request] = commit_requests(self.spool, [segment(size)], [submission.key])
            [verdict] = self.writers[who].commit([request])
            same = (request.size, request.crc32) == (submission.size, submission.crc32)
            assert (verdict.name, verdict.size, verdict.is_new) == (name, submission.size, False)
            assert verdict.code == ("" if same else "ERRKEY")

    @rule(submission=stored, who=st.integers(0, 1))
    def send_again_in_another_spool_position(self, submission, who):
        name, archives = self.first[submission.key]
        if self.remembered(archives) and submission.spool == self.spool._id:
            [payload] = [body for found, body in self.all_files() if found == name]
            [verdict] = self.writers[who].commit(commit_requests(self.spool, [payload], [submission.key]))
            assert (verdict.name, verdict.size, verdict.is_new, verdict.code) == (name, submission.size, False, "")

    def all_files(self):
        return [item for files in (self.batch, *self.archives) for item in files.items()]

    @rule(submission=stored, whose=st.sampled_from([("gw", ""), ("", "alice"), ("gw", "alice")]), who=st.integers(0, 1))
    def send_under_the_key_of_another_source_or_principal(self, submission, whose, who):
        source, by = whose
        if self.frozen:
            return
        self.count += 1
        body = segment(3, t0=float(self.count))
        key = RequestKey(source, submission.key.id)
        [verdict] = self.writers[who].commit(commit_requests(self.spool, [body], [key], by=by))
        if verdict.is_new:
            self.batch[verdict.name] = body
            self.others[by, key] = verdict.name
        else:
            assert (verdict.name, verdict.code) == (self.others[by, key], "ERRKEY")

    @rule(who=st.integers(0, 1), state=st.sampled_from(["FROZEN", "OPERATIONAL"]), number=st.integers(0, 30))
    def update(self, who, state, number):
        # Also under keys of segments and of cleanalls: kinds do not share keys.
        key = ("clean-%d", "key-%d-0", "update-%d")[number % 3] % number if number < 10 else ""
        if not key or ("update", key) not in self.asked:
            self.frozen, self.user = state == "FROZEN", f"user-{number}"
            if key:
                self.asked["update", key] = len(self.archives) + 1
            self.writers[who].set_status(f"user-{number}", "token", state, origin(key))
            return
        done = self.writers[who].set_status(f"user-{number}", "token", state, origin(key))
        assert (done.repeated, done.batch) == (True, self.asked["update", key])
        assert done.status == ("FROZEN" if self.frozen else "OPERATIONAL")

    @rule(who=st.integers(0, 1), number=st.integers(0, 30))
    def cleanall(self, who, number):
        key = f"clean-{number}" if number < 5 else ""
        repeated = bool(key) and ("clean", key) in self.asked
        if not repeated:
            self.archives.append(self.batch)
            self.batch, self.frozen, self.user = {}, False, "databuf"
            if key:
                self.asked["clean", key] = len(self.archives)
        done = self.writers[who].archive_batch(origin(key))
        assert done.repeated == repeated
        if key:
            assert done.batch == self.asked["clean", key]

    # -- what must change nothing -------------------------------------------------------------------------------

    @rule(who=st.integers(0, 1))
    def restart(self, who):
        self.writers[who].close()
        self.writers[who] = Writer(self.config)
        self.writers[who].open()

    @rule(who=st.integers(0, 1))
    def restart_after_a_crash(self, who):
        """Nothing is put in order; the other writer's last checkpoint may be there."""
        self.writers[who] = Writer(self.config)
        self.writers[who].open()

    @rule(who=st.integers(0, 1))
    def checkpoint(self, who):
        self.writers[who].checkpoint_if_due(1)

    @rule(who=st.integers(0, 1))
    def lose_the_views(self, who):
        for path in (Layout(self.config).counters, Layout(self.config).stat_view, Layout(self.config).dstat_view):
            Path(path).unlink(missing_ok=True)
        self.restart(who)

    @rule(who=st.integers(0, 1), close=st.booleans())
    def trim(self, who, close):
        if close:
            self.spool.close()
        self.writers[who].trim()

    @invariant()
    def both_tell_the_same(self):
        if not hasattr(self, "folder"):
            return
        counts = {"n_itm": len(self.batch), "buff_size": sum(map(len, self.batch.values()))}
        for writer in self.writers:
            state = writer.state()
            assert state.stat == counts
            assert (state.status, state.user) == ("FROZEN" if self.frozen else "OPERATIONAL", self.user)
        assert counters.read(Layout(self.config).counters).stat == counts
        for writer in self.writers:
            writer.publish_views()  # as their keepers do
        assert json.loads(Path(Layout(self.config).stat_view).read_text()) == counts
        assert {path.name: path.read_bytes() for path in Path(self.config.data_root).iterdir()} == self.batch


Model.TestCase.settings = settings(
    max_examples=80,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
TestTheWriterAgainstItsModel = Model.TestCase
