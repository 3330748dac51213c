"""POST /api/ui/incidents/<id>/ack: a person says that an incident was seen. Durable before the answer."""

from __future__ import annotations

import trio
from quart import Blueprint, Response, g
from quart_schema import document_request, document_response

from propbot.api import models, present
from propbot.api.bodies import AcknowledgeBody
from propbot.api.describe import describe
from propbot.api.inputs import read_input
from propbot.api.replies import ApiError, json_reply
from propbot.api.samples import INCIDENT
from propbot.status.desk import Desk

ACK_S_MAX = 2.0
ID_DIGITS_MAX = 18


def incident_routes(desk: Desk) -> Blueprint:
    routes = Blueprint("incidents", __name__)

    @routes.post("/api/ui/incidents/<id>/ack")
    @describe(
        request={"note": "a manual trade; baseline follows"},
        answers={200: INCIDENT},
        refuses=(404, 503),
        path={"id": ("Of the incident: a number, as GET /api/ui/incidents lists it", "17")},
    )
    @document_request(AcknowledgeBody)
    @document_response(models.IncidentItem)
    async def acknowledge(id: str) -> Response:
        """Acknowledge an incident, with a note.

        The first acknowledgement stays. Some guards clear only by it."""
        asked = await read_input(AcknowledgeBody)
        if not (id.isascii() and id.isdigit() and len(id) <= ID_DIGITS_MAX):
            raise ApiError(404, f"there is no incident {id!r}; GET /api/ui/incidents lists them")
        with trio.fail_after(ACK_S_MAX, shield=True):
            incident = await desk.acknowledge_incident(int(id), g.operator, (asked.note or "").strip())
        if incident is None:
            raise ApiError(404, f"there is no incident {id} among the open and the latest ones")
        return json_reply(present.incident(incident))

    return routes
