"""Named places where a test can make a process die (or freeze) exactly there; nothing happens unless asked for.

`FAILPOINTS="journal.synced=kill"` in a process's environment kills it with SIGKILL when it reaches that place;
`journal.synced=kill@3` the third time; `=stop` sends SIGSTOP instead, as a paused node would look.
One stands before every sync, rename and reply whose order matters.
"""

from __future__ import annotations

import os
import signal

NAMES = frozenset(
    {
        "spool.staged",  # payload files exist, the spool does not hold them durably yet
        "spool.long",  # the files of long payloads are synced, their names are not
        "spool.written",  # before the spool's fdatasync
        "spool.synced",  # payloads durable, nothing decided
        "journal.written",  # before the journal's fdatasync
        "journal.synced",  # decided and durable, files not yet visible
        "publish.some",  # part of a group's files renamed into data/
        "publish.done",  # all files visible, views still old
        "views.half",  # one view replaced, the other not
        "commit.reply",  # everything done, the answer not sent
        "freeze.synced",  # frozen durably, the view still says otherwise
        "clean.planned",  # cleanall decided, nothing moved
        "clean.moved",  # data/ renamed to the archive, no new data/
        "clean.products",  # products and training sets are in the archive, or there were none
        "clean.summary",  # the archive has its StatDesc, not its journal
        "clean.archived",  # the archive is whole, the old journal still in place
        "clean.swap",  # the next journal is written, not yet in place
        "clean.opened",  # the next journal is in place, views still old
        "trim.closed",  # a spool is closed for trimming, files not yet synced
        "trim.synced",  # files synced, the spool not yet removed
        "checkpoint.swap",  # the next checkpoint is written, the old one still in place
        "preproc.half",  # one product written, none in place
        "preproc.written",  # all products written and synced, none in place
        "preproc.placed",  # the products are in place, nobody has been told
        "dataset.half",  # one event of a training set written, the set not in place
        "dataset.written",  # a training set written and synced, not in place
        "dataset.placed",  # a training set is in place, its request not yet forgotten
        "archive.piece",  # a piece of an archive is uploaded, not read back
        "archive.checked",  # a piece is read back and verified, not noted
        "archive.objects",  # all objects are uploaded and verified, no manifest
        "archive.manifest",  # the manifest is written, not read back
        "archive.safe",  # the archive is safe elsewhere, the notes about its upload not yet removed
        "archive.freeing",  # the removal of the local copy is decided, nothing removed
        "archive.half",  # some of the local copy is removed
        "archive.freed",  # the local copy is removed, not noted
        "archive.restored",  # a local copy is written and synced, not in place
        "outbox.sent",  # a fact was delivered, the cursor not yet moved
    }
)


def parse(text: str) -> dict[str, tuple[signal.Signals, int]]:
    """Read `name=action[@n]` pairs separated by commas; raise ValueError on a name or action that does not exist."""
    actions = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}
    plan = {}
    for item in filter(None, text.split(",")):
        name, _, rest = item.partition("=")
        action, _, count = rest.partition("@")
        if name not in NAMES or action not in actions or not (count or "1").isdecimal():
            raise ValueError(f"FAILPOINTS={text!r}: must be name=kill or name=stop, @n behind it; {item!r} is none")
        plan[name] = (actions[action], int(count or 1))
    return plan


_plan = parse(os.environ.get("FAILPOINTS", ""))


def failpoint(name: str) -> None:
    """Die here if the environment says so."""
    if not _plan:
        return
    if (armed := _plan.get(name)) is None:
        return
    action, count = armed
    if count > 1:
        _plan[name] = (action, count - 1)
        return
    del _plan[name]
    os.kill(os.getpid(), action)
