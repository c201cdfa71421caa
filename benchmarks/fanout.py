"""One session, many subscribers, many events: is any lost, twice or out of order, and how late?

A player that reports ever more of an utterance as heard makes an event of each report.
"""

import argparse
import asyncio
import json
import time
from itertools import pairwise

import httpx

from .aims import Aims
from .many import FLAGS, create, raise_file_limit, subscribe
from .server import Server, babble, running_server, wav

LATE_S = 0.5
_SOUND_S = 20.0  # and so many thousand different reports
_LAST_ONES_S = 3.0  # have this long to come
_AT_ONCE = 4  # reports on their way, each over a connection of its own


async def measure(server: Server, count: int, rate: float, seconds: float, aims: Aims) -> None:
    total = round(rate * seconds)
    heard: list[list[int]] = [[] for _ in range(count)]
    sent_s, late_s = [0.0] * (total + 1), list[float]()
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
        (session_id,) = await create(client, 1)
        sound = wav(babble(_SOUND_S)[::3], 16_000)
        answer = await client.post(f"/sessions/{session_id}/stream", files={"audio_file": sound})
        request_id = answer.raise_for_status().json()["request_id"]
        await _announced(client, session_id, total / 1000)

        def follower(index: int, data: str, at_s: float) -> None:
            event = json.loads(data)
            if event["event"] == "playback_finished":
                heard[index].append(event["played_ms"])
                late_s.append(at_s - sent_s[event["played_ms"]])

        for index in range(count):

            def told(data: str, at_s: float, index: int = index) -> None:
                follower(index, data, at_s)

            await subscribe(server.url, session_id, told)
        began_s, cpu_s = time.monotonic(), server.cpu_s()
        numbers = iter(range(1, total + 1))

        async def report() -> None:
            for number in numbers:
                await asyncio.sleep(max(0.0, began_s + number / rate - time.monotonic()))
                sent_s[number] = time.monotonic()
                told = {"request_id": request_id, "event": "finished", "played_ms": number}
                address = f"/sessions/{session_id}/playback"
                (await client.post(address, json=told)).raise_for_status()

        await asyncio.gather(*(report() for _ in range(_AT_ONCE)))
        took_s = time.monotonic() - began_s
        await asyncio.sleep(_LAST_ONES_S)
        cpu_s = server.cpu_s() - cpu_s
    _judge(heard, late_s, took_s, cpu_s, aims)


async def _announced(client: httpx.AsyncClient, session_id: str, seconds: float) -> None:
    """Until so much of the utterance is there: nobody has heard more."""
    while True:  # a minute of sound takes seconds
        (one,) = (await client.get(f"/sessions/{session_id}/utterances")).json()["utterances"]
        if one["seconds"] >= seconds:
            return
        await asyncio.sleep(0.2)


def _judge(
    heard: list[list[int]], late_s: list[float], took_s: float, cpu_s: float, aims: Aims
) -> None:
    """What is reported out of order makes no event; what one subscriber got, all must have."""
    longest = max(heard, key=len)
    ordered = sorted(late_s)
    middle, most = ordered[len(ordered) // 2], ordered[-1]
    share = ordered[int(len(ordered) * 0.99)]
    print(f"{len(heard)} subscribers, {len(longest)} events to each in {took_s:.1f} s: ", end="")
    print(f"{len(late_s) / took_s:.0f} events/s")
    print(f"  from the report to the event: median {middle * 1e3:.0f} ms, ", end="")
    print(f"99 % within {share * 1e3:.0f} ms, most {most * 1e3:.0f} ms")
    print(f"  server CPU: {cpu_s / took_s:.2f} cores, {cpu_s / len(late_s) * 1e6:.0f} us per event")
    aims.at_most("subscribers that lost events", sum(each != longest for each in heard), 0)
    aims.at_most("events out of order, or twice", _disorder(longest), 0)
    aims.at_most("99 % of events late by", share, LATE_S, " s")


def _disorder(numbers: list[int]) -> int:
    return sum(after <= before for before, after in pairwise(numbers))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subscribers", type=int, default=50)
    parser.add_argument("--rate", type=float, default=100, help="events per second to each")
    parser.add_argument("--seconds", type=float, default=10)
    args = parser.parse_args()
    raise_file_limit()
    aims = Aims()
    # All of the utterance is made at once, so that there is nothing else to do meanwhile.
    with running_server("--max-lead-s", "1000", *FLAGS) as server:
        asyncio.run(measure(server, args.subscribers, args.rate, args.seconds, aims))
    aims.judge()


if __name__ == "__main__":
    main()
