"""The paths of servers that stream over WebRTC: their clients create sessions and speak here
unchanged, and what only WebRTC needs is answered by what there is instead."""

from typing import NoReturn

from aiohttp import hdrs, web

from ..errors import NoWebRtc
from .api import new_session
from .links import APPENDED

ROOT = "/webrtc"


async def create_session(request: web.Request) -> web.Response:
    """A session like any other. There is nothing to negotiate, so no ICE server is needed."""
    document = await new_session(request)
    where = f"{ROOT}/sessions/{document['session_id']}"
    response = web.json_response(
        {**document, "ice_servers": []}, status=201, headers={hdrs.LOCATION: where}
    )
    response[APPENDED] = ("player_url",)  # to the address under which they found these paths
    return response


async def negotiation(request: web.Request) -> NoReturn:
    """Offers and ICE candidates."""
    raise NoWebRtc(
        "this server does not speak WebRTC: open the player_url of the session in a WebView, or "
        "play its hls_url in a native player; both come with the answer to POST /sessions/create"
    )
