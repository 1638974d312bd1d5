"""writer: the one place where it is decided what is in the batch; the other functions ask it, in CloudEvents."""

from __future__ import annotations

import functions_framework.aio
import msgspec

from shared import auth, config, events, metrics, targets, web
from shared.access_config import limits_for_batches
from shared.errors import BadRequest
from shared.keeper import Keeper
from shared.requests import read_update
from shared.submission import Submission
from shared.writer import Writer


class _Commit(msgspec.Struct):
    data: Submission
    type: str


def routes(writer: Writer, keeper: Keeper) -> web.Routes:
    """What the writer serves: batches of `commit`, the events `freeze` and `cleanall`, and Knative's ping."""

    @auth.needs(auth.OPEN)
    def ping(call: web.Call) -> web.Reply:
        keeper.nudge()
        return web.NO_CONTENT

    @auth.needs(auth.SERVICE)
    def decide(call: web.Call) -> web.Reply:
        if call.headers.get("content-type") == events.BATCH:
            # Read in one pass: this is the data plane, and only our own ingest speaks to it.
            commits = web.read_json(call.body, list[_Commit])
            if any(commit.type != events.COMMIT for commit in commits):
                raise BadRequest(f"the writer takes batches of {events.COMMIT} only")
            return web.json(writer.commit([commit.data for commit in commits]))
        if not events.is_event(call.headers):
            raise BadRequest("the writer takes CloudEvents only")
        event = events.read(call.headers, call.body)[0]
        if event.type == events.PING:
            return ping(call)
        if event.type == events.FREEZE:
            update = read_update(event.data or b"{}")
            done = writer.update(*call.on_record(update.user, update.token), update.dstatus, event.key)
        elif event.type == events.CLEANALL:
            done = writer.cleanall(event.key)
        else:
            raise BadRequest(f"the writer does not take {event.type}")
        return web.json({"n_itm": done.state.n_itm, "buff_size": done.state.buff_size, "archive": done.archive})

    return {("POST", "/"): decide, ("POST", "/ping"): ping}


def build() -> web.App:
    """The writer on its own, with its background work."""
    settings = config.from_env()
    writer = Writer(settings, policy=config.policy_from_env())
    metrics.show_state(lambda: writer.known_state)
    keeper = Keeper(writer)
    keeper.start()
    return web.App(routes(writer, keeper), writer.check, limits_for_batches())


writer = functions_framework.aio.http(targets.asgi_target("writer", build))
