"""The routes of Datastore Logic that read: counts, status, names, log, and what the status page shows."""

from __future__ import annotations

from functions.logic.status import StatusDocument
from shared import auth, web
from shared.domain.messages import Counts
from shared.logic.service import DatastoreLogic
from shared.web.bodies import JsonObject, Names, Status
from shared.web.describe import PAGE, Parameter

STRAIN = Parameter(
    "strain", "the channel whose latest strain is shown; by default that of the newest segment", {"type": "string"}
)


def routes(logic: DatastoreLogic, status: StatusDocument) -> web.Routes:
    """The routes."""

    @web.describe("Who the credentials are, and what they may do", answer=JsonObject)
    @auth.requires(auth.ANY_PRINCIPAL)
    def whoami(request: web.Request) -> web.Response:
        scopes = (auth.READ, auth.WRITE, auth.OPERATE) if request.principal is None else request.principal.scopes
        return web.json({"name": request.caller, "scopes": sorted(scopes)})

    return {
        ("GET", "/whoami"): whoami,
        ("GET", "/status.json"): web.describe("What the status page shows", STRAIN, answer=JsonObject)(
            lambda request: web.json(status.get(request.query.get("strain", "")))
        ),
        ("GET", "/bufstat"): web.describe("Counts of the batch", answer=Counts)(lambda request: web.json(logic.stat())),
        ("GET", "/dsdesc"): web.describe("Status of the batch, and the operator on record", answer=Status)(
            lambda request: web.json(logic.dstat())
        ),
        ("GET", "/dumpf"): web.describe("The files in the batch", *PAGE, answer=Names)(
            lambda request: web.name_list(logic.names(*web.pagination(request)))
        ),
        ("GET", "/dumpflog"): web.describe("The log of the stored segments", *PAGE, answer=list[JsonObject])(
            lambda request: web.json_list(logic.log(*web.pagination(request)))
        ),
    }
