"""The paths of servers that stream over WebRTC."""

from collections.abc import Mapping
from dataclasses import replace

from .parts import STRING, Operation, Schema, answers, array

_CREATED = "SessionCreatedForWebRtc"


def operations(its: Mapping[str, Operation]) -> dict[str, Operation]:
    """The same handlers under other paths, and what only WebRTC needs."""
    session = "/sessions/{session_id}"
    same = (f"GET {session}", f"DELETE {session}", f"POST {session}/stream")
    found = {_below_webrtc(name): replace(its[name], tag="webrtc") for name in same}
    found["POST /webrtc/sessions/create"] = replace(
        its["POST /sessions/create"],
        tag="webrtc",
        answers=answers(201, _CREATED, "The session", Location="of the session"),
    )
    for name, what in (("offer", "an SDP offer"), ("ice", "an ICE candidate")):
        found[f"POST /webrtc{session}/{name}"] = Operation(
            "webrtc",
            f"Where clients of WebRTC servers send {what}: always 501",
            {},
            errors=("webrtc_not_offered",),
        )
    return found


def _below_webrtc(name: str) -> str:
    method, _, path = name.partition(" ")
    return f"{method} /webrtc{path}"


def schemas(its: Mapping[str, Schema]) -> dict[str, Schema]:
    """A session that was created there tells this, too."""
    created, servers = its["SessionCreated"], {"ice_servers": {**array(STRING), "maxItems": 0}}
    members = {**created["properties"], **servers}
    return {
        _CREATED: {**created, "properties": members, "required": [*created["required"], *servers]}
    }
