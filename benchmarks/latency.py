"""From the start of an upload to its first chunk event, as a client sees it."""

import argparse
import asyncio

import httpx

from .server import babble, create, events, median_ms, running_server, speak, wav


async def measure(count: int, seconds: float) -> None:
    sound = wav(babble(seconds))
    to_answer, to_chunk = [], []
    with running_server() as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
            for _ in range(count + 1):
                session_id = await create(client)
                async for announced in events(client, session_id):
                    if announced.event["event"] == "state":
                        before, answered = await speak(client, session_id, sound)
                    if announced.event["event"] == "chunk":
                        to_answer.append(answered - before)
                        to_chunk.append(announced.at_s - before)
                        break
                await client.delete(f"/sessions/{session_id}")
    # The first round warms the server up and is not counted.
    print(f"{seconds:g} s of wav, {count} uploads")
    print(f"upload to 202: {median_ms(to_answer[1:])}")
    print(f"upload to first chunk event: {median_ms(to_chunk[1:])}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uploads", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=5)
    args = parser.parse_args()
    asyncio.run(measure(args.uploads, args.seconds))


if __name__ == "__main__":
    main()
