"""What nobody fetches is not made for ever: first it waits, then it ends. Who fetches at the end
of a short utterance, or now and then, notices nothing."""

import asyncio

from fakes import NumberRenderer, tone, wav
from servers import Json, Serve, Server

UNWATCHED_S = 2.0
LEAD_S = 0.5


async def seconds_made(server: Server, session_id: str) -> float:
    document = (await server.client.get(f"/sessions/{session_id}")).json()
    return float(document["utterance"]["seconds"])


async def until_it_waits(server: Server, session_id: str) -> float:
    """Until no more is made for a while; seconds made."""
    async with asyncio.timeout(30):
        while True:
            made_s = await seconds_made(server, session_id)
            await asyncio.sleep(UNWATCHED_S / 5)
            if made_s and await seconds_made(server, session_id) == made_s:
                return made_s


async def test_it_waits_goes_on_and_ends(serve: Serve) -> None:
    server = await serve(NumberRenderer(), unwatched_s=UNWATCHED_S, max_lead_s=LEAD_S)
    session_id = await server.create(chunk_duration=0.4)
    async with server.events(session_id) as events:
        await events.next()
        await server.upload(session_id, wav(tone(30.0)))
        heard = await events.until("chunk")
        made_s = await until_it_waits(server, session_id)
        assert made_s < 10, "and not 30"
        await server.chunks(heard)
        async with asyncio.timeout(20):
            while await seconds_made(server, session_id) == made_s:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        heard += await events.until("error")
    assert (heard[-1]["code"], heard[-1]["retryable"]) == ("not_watched", True)
    assert await server.state(session_id) == "idle"
    assert all(chunk[4:8] == b"ftyp" for chunk in await server.chunks(heard))
    answer = await server.upload(session_id, wav(tone(0.5)))
    assert answer.status_code == 202


async def test_who_fetches_every_chunk_late_notices_nothing(serve: Serve) -> None:
    server = await serve(NumberRenderer(), unwatched_s=UNWATCHED_S, max_lead_s=LEAD_S)
    session_id = await server.create(chunk_duration=0.4)
    heard: list[Json] = []
    async with server.events(session_id) as events:
        await events.next()
        await server.upload(session_id, wav(tone(4.0)))
        while not heard or heard[-1]["event"] != "complete":
            heard.append(await events.next())
            if heard[-1]["event"] == "chunk":
                await asyncio.sleep(0.1)
                await server.chunks(heard[-1:])
    assert heard[-1]["event"] == "complete"


async def test_who_reads_a_list_or_a_recording_watches(serve: Serve) -> None:
    server = await serve(NumberRenderer(), unwatched_s=UNWATCHED_S, max_lead_s=LEAD_S)
    listing, recording = await server.create(), await server.create()
    ids = [
        (await server.upload(each, wav(tone(4.0)))).json()["request_id"]
        for each in (listing, recording)
    ]

    async def read_lists() -> str:
        while True:
            address = f"/sessions/{listing}/live.m3u8?request_id={ids[0]}"
            text = (await server.client.get(address)).text
            if "#EXT-X-ENDLIST" in text:
                return text
            await asyncio.sleep(0.2)

    address = f"/sessions/{recording}/utterances/{ids[1]}.mp4"
    async with asyncio.timeout(30):
        text, film = await asyncio.gather(read_lists(), server.client.get(address))
    assert "#EXTINF" in text
    assert film.status_code == 200
    assert film.content[4:8] == b"ftyp"
    for session_id in (listing, recording):
        (said,) = (await server.client.get(f"/sessions/{session_id}/utterances")).json()[
            "utterances"
        ]
        assert said["status"] == "complete"


async def test_0_is_for_ever(serve: Serve) -> None:
    server = await serve(NumberRenderer(), unwatched_s=0, max_lead_s=LEAD_S)
    heard = await server.speak(await server.create(), wav(tone(2.5)))
    assert heard[-1]["event"] == "complete"
