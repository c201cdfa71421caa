"""Whatever is asked, the answer is right: a slice of what `scripts/fuzz` sends."""

from pathlib import Path

import httpx
from fuzz import Fuzz
from servers import start_process

NUM_REQUESTS = 500
_SESSION = "/sessions/{session_id}"
# That take what is sent to them; some of it must be right, or they are not reached.
HANDLERS = {
    f"POST {_SESSION}/stream",
    f"POST {_SESSION}/audio",
    f"POST {_SESSION}/interrupt",
    f"POST {_SESSION}/playback",
    f"POST {_SESSION}/position",
    f"PUT {_SESSION}/utterances/{{request_id}}/captions",
}


def test_requests_at_random(own_store: Path, tmp_path: Path) -> None:
    flags = ("--avatar", "tiny", "--capacity-fps", "100000", "--trusted-proxies", "127.0.0.1")
    with (
        start_process(tmp_path, own_store, *flags) as server,
        httpx.Client(base_url=server.url, timeout=30) as client,
    ):
        fuzz = Fuzz(client, seed=12)
        fuzz.run(NUM_REQUESTS)
        assert not fuzz.mistakes, "\n".join(fuzz.mistakes[:10])
        assert sum(fuzz.statuses.values()) == NUM_REQUESTS
        assert {200, 206, 400, 404, 405, 501} <= set(fuzz.statuses), "it is not what it was"
        reached = {route for route, count in fuzz.succeeded.items() if count}
        assert reached >= HANDLERS, f"nothing right was asked of {HANDLERS - reached}"
        assert client.get("/healthz").status_code == 200
        assert "Traceback" not in server.log
