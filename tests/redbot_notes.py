"""What redbot notes about addresses, as JSON: `{address: [[level, note], …]}`. It is a program, as
redbot has an event loop of its own."""

import json
import sys
from configparser import ConfigParser
from typing import Any

import thor
from redbot.resource import HttpResource  # type: ignore[import-untyped]


def main(addresses: list[str]) -> None:
    config = ConfigParser()
    config.read_dict({"redbot": {"enable_local_access": "True"}})
    noted: dict[str, Any] = {}

    def check(address: str) -> None:
        resource = HttpResource(config["redbot"])
        resource.set_request(address)

        def done() -> None:
            notes = resource.response.notes
            noted[address] = [[note.level.value, type(note).__name__] for note in notes]
            if len(noted) == len(addresses):
                thor.stop()

        resource.on("check_done", done)
        resource.check()

    for address in addresses:
        check(address)
    thor.run()
    json.dump(noted, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
