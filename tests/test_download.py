"""Fetching a weight file from servers that misbehave, onto disks that are full."""

import errno
import fcntl
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hub import CONTENT, FILE, Hub

from musetalk_stream.download import ATTEMPTS, check_source, check_space, fetch
from musetalk_stream.errors import SetupError, WeightsError
from musetalk_stream.weights import OfficialFile, State

PATH = f"/{FILE.url_path}"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub().running() as hub:
        yield hub


def get(hub: Hub, folder: Path, file: OfficialFile = FILE) -> State:
    return fetch(file, folder, hub.url, pause_s=0)


def part_of(folder: Path) -> Path:
    return folder / "net/unet.pth.part"


def test_a_file_comes_whole(hub: Hub, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    state = fetch(FILE, tmp_path, hub.url, lambda done, total: seen.append((done, total)))
    assert state is State.OK
    assert FILE.place(tmp_path).read_bytes() == CONTENT
    assert not part_of(tmp_path).exists()
    assert {total for _, total in seen} == {len(CONTENT)}
    assert len(CONTENT) in [done for done, _ in seen]
    assert hub.ranges == [None]


def test_without_a_hash_the_size_has_to_do(hub: Hub, tmp_path: Path) -> None:
    assert get(hub, tmp_path, replace(FILE, sha256=None)) is State.UNKNOWN_HASH
    assert FILE.place(tmp_path).exists()


def test_a_broken_line_is_taken_up_again(hub: Hub, tmp_path: Path) -> None:
    hub.script = ["break", "break", "503", "break"]
    assert get(hub, tmp_path) is State.OK
    assert FILE.place(tmp_path).read_bytes() == CONTENT
    half = len(CONTENT) // 2
    assert hub.ranges[:2] == [None, f"bytes={half}-"]
    assert hub.ranges[2] == hub.ranges[3] == f"bytes={half + half // 2}-"
    assert len(hub.ranges) == 5


def test_what_an_earlier_command_left_is_taken_up(hub: Hub, tmp_path: Path) -> None:
    part_of(tmp_path).parent.mkdir()
    part_of(tmp_path).write_bytes(CONTENT[:1000])
    assert get(hub, tmp_path) is State.OK
    assert hub.ranges == ["bytes=1000-"]


def test_what_came_whole_is_not_fetched_again(hub: Hub, tmp_path: Path) -> None:
    part_of(tmp_path).parent.mkdir()
    part_of(tmp_path).write_bytes(CONTENT)
    assert get(hub, tmp_path) is State.OK
    assert hub.ranges == []


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_plain_server_will_do(knows_ranges: bool, hub: Hub, tmp_path: Path) -> None:
    hub.knows_ranges = knows_ranges
    hub.script = ["break", "no length"]
    assert get(hub, tmp_path) is State.OK
    assert FILE.place(tmp_path).read_bytes() == CONTENT


def test_wrong_bytes_are_removed(hub: Hub, tmp_path: Path) -> None:
    hub.content = CONTENT[:-1] + b"?"
    with pytest.raises(WeightsError, match=rf"{PATH} has the wrong hash and was removed"):
        get(hub, tmp_path)
    assert list((tmp_path / "net").iterdir()) == []


def test_a_part_that_is_too_long_is_removed(hub: Hub, tmp_path: Path) -> None:
    part_of(tmp_path).parent.mkdir()
    part_of(tmp_path).write_bytes(CONTENT + b"?")
    with pytest.raises(WeightsError, match="wrong size and was removed"):
        get(hub, tmp_path)
    assert get(hub, tmp_path) is State.OK


def test_a_file_of_another_size_is_not_even_begun(hub: Hub, tmp_path: Path) -> None:
    hub.content = b"<html>sign in</html>"
    hub.num_bytes = len(hub.content)
    with pytest.raises(WeightsError, match=f"has 20 bytes and should have {len(CONTENT)}"):
        get(hub, tmp_path)
    assert part_of(tmp_path).stat().st_size == 0


def test_another_range_than_asked_for_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.script = ["break", "another range"]
    with pytest.raises(WeightsError, match="answers 206 bytes 0-"):
        get(hub, tmp_path)


@pytest.mark.parametrize("status", ["401", "403", "404", "416"])
def test_a_refusal_is_final(status: str, hub: Hub, tmp_path: Path) -> None:
    hub.script = [status]
    with pytest.raises(WeightsError, match=f"{PATH}: the server answers {status}"):
        get(hub, tmp_path)
    assert len(hub.ranges) == 1


@pytest.mark.parametrize("status", ["429", "500", "503"])
def test_a_busy_server_is_asked_a_few_times(status: str, hub: Hub, tmp_path: Path) -> None:
    hub.script = ["break", *[status] * 10]
    with pytest.raises(WeightsError, match=f"answers {status} .* again to go on.*--source"):
        get(hub, tmp_path)
    assert len(hub.ranges) == 1 + ATTEMPTS
    assert part_of(tmp_path).read_bytes() == CONTENT[: len(CONTENT) // 2]


def test_a_server_that_never_gets_beyond_its_half(hub: Hub, tmp_path: Path) -> None:
    hub.knows_ranges = False
    hub.script = ["break"] * 10
    with pytest.raises(WeightsError, match="broke off after"):
        get(hub, tmp_path)
    assert len(hub.ranges) == 1 + ATTEMPTS


def test_redirects_are_followed(hub: Hub, tmp_path: Path) -> None:
    """As on the hub: the address of the repository leads to that of the storage."""
    hub.script = ["break", f"to {hub.url}/storage?signed=1"]
    assert get(hub, tmp_path) is State.OK
    half = f"bytes={len(CONTENT) // 2}-"
    assert hub.ranges == [None, half, half]


@pytest.mark.parametrize("target", ["https://127.0.0.1:1/x", "ftp://127.0.0.1/x"])
def test_a_redirect_keeps_to_the_scheme(target: str, hub: Hub, tmp_path: Path) -> None:
    hub.script = [f"to {target}"]
    with pytest.raises(WeightsError, match=f"another scheme: {target}"):
        get(hub, tmp_path)


def test_without_a_network_the_ways_out_are_named(tmp_path: Path) -> None:
    with Hub().running() as hub:
        pass
    with pytest.raises(WeightsError) as caught:
        get(hub, tmp_path)
    for words in (os.strerror(errno.ECONNREFUSED), "--source", "copy net/unet.pth"):
        assert words in str(caught.value)


def test_a_full_disk_is_named(hub: Hub, tmp_path: Path) -> None:
    part_of(tmp_path).parent.mkdir()
    part_of(tmp_path).symlink_to("/dev/full")
    with pytest.raises(WeightsError, match=r"disk of .* is full; make room"):
        get(hub, tmp_path)
    assert len(hub.ranges) == 1


def test_a_folder_that_can_not_be_written_is_named(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "net").write_text("a file")
    with pytest.raises(WeightsError, match="can't write"):
        get(hub, tmp_path)


def test_two_commands_do_not_write_one_file(hub: Hub, tmp_path: Path) -> None:
    part_of(tmp_path).parent.mkdir()
    with part_of(tmp_path).open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(WeightsError, match="being fetched by another"):
            get(hub, tmp_path)
    assert hub.ranges == []


def test_space_is_looked_for_beforehand(tmp_path: Path) -> None:
    check_space(tmp_path / "not" / "yet", [FILE])
    with pytest.raises(WeightsError, match=r"1000000000.00 GB are to come: make room.*--dir"):
        check_space(tmp_path / "not" / "yet", [replace(FILE, num_bytes=10**18)])


@pytest.mark.parametrize("source", ["ftp://x", "/home/x", "https://", "file:///etc/passwd"])
def test_a_source_is_http(source: str) -> None:
    with pytest.raises(SetupError, match="--source must begin with"):
        check_source(source)
    assert check_source("https://mirror.example/hub/") == "https://mirror.example/hub"
