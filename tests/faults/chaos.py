"""Random faults against random load, checked against a model of what was acknowledged: `make crash`.

Two writers and two ingests share a volume, so that every fault also meets two writers at once. Clients send segments,
send some again, and repeat what was not answered; an operator freezes and files batches away. Meanwhile processes are
killed at any moment or at a failpoint, paused so that writers overlap, and now and then everything dies at once and
loses whatever was not synced; in some rounds, where a small file system can be mounted, the disk fills up. An archiver
copies archives to a folder that stands for another place, and removes their segments from the volume. After each round
everything is started again, every open question is asked until it is answered, every segment is read wherever it lies,
archives are brought back, and I1-I8 are checked on the volume.

    python -m tests.faults.chaos --seconds 60 --seed 1
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from shared.archiver.held import held
from shared.config import store_from_env
from shared.domain.block import format_of, parse
from shared.domain.runs import Runs
from shared.failpoints import NAMES
from shared.storage import journal
from shared.storage.verification import differences
from shared.volume import counters
from shared.volume.layout import Layout
from tests.support.archives import Copied, check_copy, served
from tests.support.blocks import arrow_block, segments
from tests.support.builders import segment
from tests.support.checks import check_archive, wait_for
from tests.support.load import Sent, post
from tests.support.power_loss import build_shim, environment, lose_power
from tests.support.servers import Process, http

WRITERS, CLIENTS = 2, 6
SMALL, SIZE = 0.3, 192 << 20  # the share of rounds on a disk of this many bytes, which fills up


def mount_small(root: Path) -> bool:
    """Whether a small file system could be mounted there."""
    root.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(root)]
    return subprocess.run(command, capture_output=True).returncode == 0


def payload(number: int, count: int) -> bytes:
    """A segment, or a block, of which some are long enough to be checked beside the event loop."""
    t0 = number * 1e6 + count
    if count % 6 == 0:
        return arrow_block(3, 25_000 if count % 60 == 0 else 1 + count % 90, t0)
    if count % 6 == 1:
        return json.dumps(segments(2, 1 + count % 90, t0)).encode()
    return segment(1 + count % 90, t0=t0)


class Round:
    """One volume, its processes, and what the clients know."""

    def __init__(self, root: Path, dice: random.Random, tally: Counter, shim: Path | None):
        self.small = dice.random() < SMALL and mount_small(root)
        self.root, self.dice, self.tally, self.shim = root, dice, tally, shim
        self.sync_log = root.with_name(root.name + ".synced")
        self.acked: dict[str, tuple[str, bytes]] = {}
        self.tried: dict[str, bytes] = {}
        self.first: dict[str, int] = {}  # key -> the batch it was first sent in, as the operator counts
        self.open: dict[str, int] = {}  # keys being sent -> the batch in which that began
        self.altered: set[str] = set()  # files
        self.batches = 0
        self.halt = False
        env = {
            "ROOT": str(root),
            "SPOOL_SIZE": "60000",
            "STAGE_APART": self.dice.choice(["1", "1000"]),
            "CHECKPOINT_SIZE": "20000",
            "WRITE_ONCE": "1000",  # most blocks are longer, most segments shorter
            "HOUSEKEEPING": "0.3",
            "COMMIT_TIMEOUT": "2",
        }
        if shim:
            env |= environment(shim, self.sync_log)
        self.writers = [Process("writer", env) for _ in range(WRITERS)]
        self.ingests = [Process("ingest", {**env, "WRITER_URL": writer.url}) for writer in self.writers]
        copies = {"ARCHIVE_URL": f"file://{root}.remote", "ARCHIVE_PIECE": "3000"}
        self.archiver = Process("archiver", {**env, **copies, "ARCHIVE_KEEP": self.dice.choice(["", "0", "0", "2"])})
        self.config = store_from_env(self.archiver.env)
        self.operators = [Process("freeze", {**env, "WRITER_URL": self.writers[0].url}),
                          Process("cleanall", {**env, "WRITER_URL": self.writers[1].url})]  # fmt: skip

    @property
    def processes(self) -> list[Process]:
        return [*self.writers, *self.ingests, *self.operators, self.archiver]

    def start(self) -> None:
        for process in self.processes:
            if not process.alive:
                process.start(wait="")
        for process in self.processes:
            process.wait()

    def stop(self) -> None:
        for process in self.processes:
            process.stop()
        self.kill_jobs()
        if self.small:
            subprocess.run(["umount", self.root], check=True)

    def kill_jobs(self) -> None:
        """Kill what the archiver has started: the jobs have sessions of their own, as in a container they had not."""
        root = f"ROOT={self.root}".encode()
        for found in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if b"shared.archiver.job" in (found / "cmdline").read_bytes() and root in (
                    found / "environ"
                ).read_bytes().split(b"\0"):
                    os.kill(int(found.name), signal.SIGKILL)
                    while found.exists() and "State:\tZ" not in (found / "status").read_text():
                        time.sleep(0.001)

    # -- clients ------------------------------------------------------------------------------------------------

    async def client(self, number: int) -> None:
        count = 0
        while not self.halt:
            if self.acked and self.dice.random() < 0.03:
                await self.send_another_payload()
            recent = [key for key in self.acked if self.first[key] == self.batches and key not in self.open]
            if recent and self.dice.random() < 0.15:
                key = self.dice.choice(recent)  # a redelivery of something answered long ago
            else:
                key = f"{number}-{count}"
                count += 1
            await self.send(key)

    async def send(self, key: str) -> None:
        body = self.tried.get(key)
        if body is None:
            number, count = map(int, key.split("-"))
            body = self.tried[key] = payload(number, count)
        self.first.setdefault(key, self.batches)
        self.open.setdefault(key, self.batches)
        while True:
            ingest = self.dice.choice(self.ingests)
            (sent,) = await post(ingest.url + "/sendF", [(key, body)], 1)
            if sent.status == 201:
                break
            if sent.status not in (0, 503, 507 if self.small else 503):
                raise AssertionError(f"answer {sent.status}: {sent.answer!r}")
            self.tally["refused or lost connections"] += 1
            await asyncio.sleep(0.05)
            if self.halt:
                return
        self.settle(sent)

    async def send_another_payload(self) -> None:
        """A key that named a segment of this batch must refuse another payload, and lose neither."""
        known = [key for key in self.acked if self.first[key] == self.batches and key not in self.open]
        if not known:
            return
        key, batches = self.dice.choice(known), self.batches
        (sent,) = await post(self.dice.choice(self.ingests).url + "/sendF", [(key, segment(2, t0=7.0))], 1)
        if sent.status == 201:
            raise AssertionError(f"I4: another payload was taken under the key {key}")
        if sent.status not in (0, 422, 503, 507 if self.small else 503):
            raise AssertionError(f"answer {sent.status} to another payload: {sent.answer!r}")
        self.tally["other payloads refused"] += sent.status == 422 and batches == self.batches

    def alter(self) -> None:
        """Flip a byte of a stored file, while nothing runs: a disk that rots."""
        names = [name for name in self.files() if name not in self.altered]
        if names and self.dice.random() < 0.3:
            path = self.root / "datavar/data" / self.dice.choice(names)
            content = bytearray(path.read_bytes())
            if content:
                content[self.dice.randrange(len(content))] ^= 1
                path.write_bytes(content)
                self.altered.add(path.name)
                self.tally["files altered at rest"] += 1

    def settle(self, sent: Sent) -> None:
        if (before := self.acked.get(sent.key)) is not None and before[0] != sent.name:
            raise AssertionError(f"I4: {sent.key} was {before[0]}, is answered {sent.name} now")
        if before is None:
            self.tally["acked"] += 1
        else:
            self.tally["answered again"] += 1
        self.acked[sent.key] = (sent.name, sent.body)
        self.open.pop(sent.key, None)

    async def operator(self) -> None:
        """Freezes, looks that nothing moves, files away. A key is answered for two batches: it waits for those."""
        freeze, clean = self.operators
        while not self.halt:
            await asyncio.sleep(self.dice.uniform(0.3, 1.5))
            if any(batch < self.batches for batch in self.open.values()):
                continue
            if self.dice.random() < 0.6:
                # A segment has this key too, and the cleanall: kinds of requests do not share keys.
                if not await self.ask(freeze.url + "/upddsc", f"0-{self.batches}", b'{"user":"op"}'):
                    return
                losses, frozen = self.tally["power losses"], self.files()
                await asyncio.sleep(self.dice.uniform(0, 0.4))
                later = self.files()
                # A power loss takes files that were not synced away, until they are restored.
                if later != frozen and losses == self.tally["power losses"]:
                    difference = sorted(set(later) ^ set(frozen))
                    raise AssertionError(f"I3: {len(frozen)} files were {len(later)} later: {difference[:3]}")
                self.tally["freezes"] += 1
            if not await self.ask(clean.url + "/cleanall", f"0-{self.batches}", b""):
                return
            self.batches += 1
            self.tally["cleanalls"] += 1

    async def ask(self, url: str, key: str, body: bytes) -> bool:
        while not self.halt:
            (sent,) = await post(url, [(key, body)], 1)
            if sent.status == 201:
                return True
            await asyncio.sleep(0.05)
        return False

    def files(self) -> list[str]:
        try:
            return sorted(path.name for path in (self.root / "datavar/data").iterdir())
        except FileNotFoundError:  # a power loss and its recovery are under way
            return []

    # -- faults -------------------------------------------------------------------------------------------------

    async def chaos(self) -> None:
        while not self.halt:
            await asyncio.sleep(self.dice.uniform(0.05, 0.6))
            process = self.dice.choice(self.writers * 2 + self.ingests + self.operators + [self.archiver] * 2)
            chances = {"kill": 4, "failpoint": 5, "pause": 3, "power": int(bool(self.shim)), "full": 4 * self.small}
            chances["stager"] = 2
            [fault] = self.dice.choices(list(chances), list(chances.values()))
            if fault == "kill":
                process.kill()
                if process is self.archiver:
                    self.kill_jobs()
                    self.tally["archivers killed"] += 1
                process.start(wait="")
                self.tally["kills"] += 1
            elif fault == "failpoint":
                await self.failpoint()
            elif fault == "pause":
                process.signal(signal.SIGSTOP)
                await asyncio.sleep(self.dice.uniform(0.05, 1.2))
                process.signal(signal.SIGCONT)
                self.tally["pauses"] += 1
            elif fault == "full":
                await self.fill_up()
            elif fault == "stager":
                for child in self.dice.choice(self.ingests).children():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(child, signal.SIGKILL)
                        self.tally["stagers killed"] += 1
            else:
                for each in self.processes:
                    each.kill()
                self.kill_jobs()
                self.tally["files cut by power losses"] += lose_power(
                    self.root, self.sync_log, self.dice.choice(["empty", "gone"])
                )
                self.tally["power losses"] += 1
                self.alter()
                for each in self.processes:
                    each.start(wait="")

    async def fill_up(self) -> None:
        ballast = self.root / "ballast"
        try:
            with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
                while file.write(b"\0" * 65536) == 65536:
                    pass
            await asyncio.sleep(self.dice.uniform(0.1, 1.0))
        finally:
            ballast.unlink()
        self.tally["full disks"] += 1

    async def failpoint(self) -> None:
        name = self.dice.choice(sorted(NAMES))
        if name.startswith("archive."):
            await self.failpoint_of_archiver(name)
            return
        process = self.dice.choice(self.ingests if name.startswith("spool") else self.writers)
        process.kill()
        process.start(wait="", FAILPOINTS=f"{name}=kill@{self.dice.randint(1, 6)}")
        deadline = time.monotonic() + self.dice.uniform(0.8, 2.5)
        while process.alive and time.monotonic() < deadline:  # noqa: ASYNC110 - a process has no event
            await asyncio.sleep(0.02)
        self.tally["failpoints armed"] += 1
        if not process.alive:
            self.tally["kills at failpoints"] += 1
        else:
            process.kill()
        process.start(wait="")

    async def failpoint_of_archiver(self, name: str) -> None:
        """Its jobs die at a place, one after another, for a while."""
        self.archiver.kill()
        self.kill_jobs()
        self.archiver.start(wait="", FAILPOINTS=f"{name}=kill@{self.dice.randint(1, 2)}")
        await asyncio.sleep(self.dice.uniform(1.5, 3.0))
        self.archiver.kill()
        self.kill_jobs()
        self.tally["archivers' failpoints armed"] += 1
        self.archiver.start(wait="")

    # -- the round ----------------------------------------------------------------------------------------------

    async def run(self, seconds: float) -> None:
        self.start()
        async with asyncio.TaskGroup() as tasks:
            for number in range(CLIENTS):
                tasks.create_task(self.client(number))
            tasks.create_task(self.operator())
            tasks.create_task(self.chaos())
            await asyncio.sleep(seconds)
            self.halt = True
        for process in self.processes:
            process.signal(signal.SIGCONT)
        self.start()
        self.halt = False
        # As the operator does: what was sent in an earlier batch is settled before another one is filed away.
        for key in [key for key, batch in self.open.items() if batch < self.batches]:
            await asyncio.wait_for(self.send(key), 60)
        url, key = self.operators[1].url + "/cleanall", f"0-{self.batches}"
        assert await asyncio.wait_for(self.ask(url, key, b""), 60)
        for key in list(self.open):
            await asyncio.wait_for(self.send(key), 60)

    def read_everything(self) -> None:
        """Every archive is copied whole; its segments are read where they lie; then they are brought back."""
        self.archiver.stop()
        self.kill_jobs()
        copied = Copied(self.config)
        reported = self.reported()
        for one in list(held(copied.layout, copied.batches)):
            self.tally["archives found elsewhere"] += not one.here
            self.tally["archives found copied"] += one.safe
            copied.copy(one.name)
        there = Path(f"{self.root}.remote")
        for folder in there.iterdir() if there.exists() else ():
            check_copy(folder)
        read = served(self.config, left_out=reported)
        for name, body in self.acked.values():
            if name in read:
                assert read[name] == body, f"{name} is not what was acknowledged"
                self.tally["segments read from archives"] += 1
        for one in list(held(copied.layout, copied.batches)):
            copied.free(one.name)
        assert served(self.config, left_out=reported) == read, "what was read from the volume reads otherwise elsewhere"
        for one in list(held(copied.layout, copied.batches)):
            copied.verify(one.name)
            copied.restore(one.name)

    def reported(self) -> set[str]:
        """Names of the files that verification reports."""
        layout = Layout(store_from_env({"ROOT": str(self.root)}))
        batches = [(layout.journal, layout.data)]
        batches += [(layout.archived_journal(name), layout.archive(name)) for name in os.listdir(layout.root)
                    if os.path.exists(layout.archived_journal(name))]  # fmt: skip
        return {os.path.basename(found.path) for batch in batches for found in differences(*batch)}

    def listed(self) -> dict[str, tuple[Runs, ...]]:
        """What the journals list for each name."""
        layout = Layout(store_from_env({"ROOT": str(self.root)}))
        paths = [layout.journal, *map(layout.archived_journal, os.listdir(layout.root))]
        found: dict[str, tuple[Runs, ...]] = {}
        for path in filter(os.path.exists, paths):
            with open(path, "rb") as file:
                found |= {entry.record.name: entry.record.holds for entry in journal.scan(file)}
        return found

    def check(self) -> None:
        """I1-I8 on the volume, against what the clients know."""
        stored: dict[str, bytes] = {}
        archives = [p for p in (self.root / "datavar").iterdir() if (p / "LogStream.json").exists()]
        for archive in archives:
            files = check_archive(archive)
            assert not stored.keys() & files.keys(), "I8: a segment is in two batches"
            stored |= files
        data = {p.name: p.read_bytes() for p in (self.root / "datavar/data").iterdir()}
        assert not stored.keys() & data.keys(), "I8: a segment is in two batches"
        stored |= data
        stat, view = (
            {"n_itm": len(data), "buff_size": sum(map(len, data.values()))},
            self.root / "appdata/adm/StatDesc.json",
        )
        assert counters.read(str(self.root / "appdata/adm/tally")).stat == stat, "I2: counts"
        wait_for(lambda: json.loads(view.read_text()) == stat)
        reported = self.reported()
        assert reported <= self.altered, f"files that nobody altered differ: {sorted(reported - self.altered)[:3]}"
        lost = [key for key, (name, body) in self.acked.items() if stored.get(name) != body and name not in reported]
        whole = {name: body for name, body in stored.items() if name not in reported}
        bodies = Counter(whole.values())
        double = [body for body, times in bodies.items() if times > 1]
        self.tally["lost"] += len(lost)
        self.tally["double"] += len(double)
        listed = self.listed()
        for name, body in whole.items():
            if format := format_of({}, body):
                assert listed[name] == parse(body, format, 10, 100_000).holds, "a block holds what its record lists"
                self.tally["blocks"] += 1
        assert not lost, f"I1: {len(lost)} acknowledged segments are lost, such as {lost[0]}"
        assert not double, f"I4: {len(double)} segments are stored twice"
        assert set(whole.values()) <= set(self.tried.values()), "I5: a file nobody sent"
        assert self.tried.keys() == self.acked.keys(), "a question was left open"
        for writer in self.writers:
            assert http.request("GET", writer.url + "/health/readiness").status == 200


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=60, help="how long to go on")
    parser.add_argument("--round", type=float, default=12, help="seconds of faults in a round")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    tally: Counter = Counter(lost=0, double=0)
    deadline = time.monotonic() + arguments.seconds
    number = 0
    with tempfile.TemporaryDirectory(prefix="crash-") as folder:
        shim = build_shim(Path(folder))
        while time.monotonic() < deadline:
            seed = arguments.seed + number
            number += 1
            trial = Round(Path(folder) / f"round{number}", random.Random(seed), tally, shim)
            failure: BaseException | None = None
            try:
                asyncio.run(trial.run(min(arguments.round, max(deadline - time.monotonic(), 3))))
                trial.read_everything()
                trial.check()
            except BaseException as error:
                failure = error
            finally:
                trial.stop()
            if failure is not None:
                print(f"VIOLATION in the round with seed {seed}: {failure!r}", file=sys.stderr)
                for process in trial.processes:
                    print(f"--- {process.target}\n{process.text()[-3000:]}", file=sys.stderr)
                raise failure
    print(f"rounds: {number}, seeds: {arguments.seed} to {arguments.seed + number - 1}")
    for what, count in sorted(tally.items()):
        print(f"{what}: {count}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
