"""Servers to test against: in this process with a fake renderer, and as a user starts one."""

import itertools
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from fakes import NumberRenderer, make_avatar, make_avatar_folder
from making import Avatars
from servers import Begin, Command, ProcessServer, Result, Serve, Server, Starting, start_process

from musetalk_stream.avatar import shipped_avatars
from musetalk_stream.cli import main
from musetalk_stream.config import EncoderConfig, load
from musetalk_stream.decoding import DecodeProcesses
from musetalk_stream.prepare import prepare_store
from musetalk_stream.renderers import Renderer
from musetalk_stream.web.app import build_app
from musetalk_stream.web.context import CONFIG, READINESS
from musetalk_stream.web.listen import Listener, make_runner

# Read by torch when it is imported, here and in the servers that tests start. The networks of the
# tests are too small to be worth spreading over threads, and tests run side by side already.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell starts what runs in the background with Ctrl-C ignored, and so would be what tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def avatar_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two small avatars; the demo avatar joins them when the first server starts."""
    store = tmp_path_factory.mktemp("avatars")
    make_avatar_folder(store, "tiny")
    make_avatar_folder(store, "other", num_frames=7, cycle="ping-pong")
    return store


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MuseTalk weights, small ones. Nothing in the folder is ever changed."""
    from models_folder import make_models  # and with it torch, which most tests do without

    return make_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def decoding() -> Iterator[DecodeProcesses]:
    """Processes that decode, for all servers in this one: loading them takes longer than a test."""
    with DecodeProcesses(memory_mb=256, cpu_s=60).running() as processes:
        processes.wait_until_ready()
        yield processes


@pytest.fixture
async def begin(
    avatar_store: Path, tmp_path: Path, decoding: DecodeProcesses
) -> AsyncIterator[Begin]:
    async with AsyncExitStack() as stack:
        numbers = itertools.count()

        async def start(renderer: Renderer, /, **settings: object) -> Starting:
            flags = {
                "avatars_dir": str(avatar_store),
                "chunks_dir": str(tmp_path / "chunks"),
                "state_dir": str(tmp_path / f"state{next(numbers) or ''}"),
                "min_free_mb": "0",  # some tests have small disks
                "avatar": "tiny",
                "port": "0",
                "capacity_fps": "100000",  # not measured, unless a test is about that
                **{name: str(value) for name, value in settings.items()},
            }
            app = build_app(load(flags, environ={}), renderer, decoding=decoding)
            runner = make_runner(app)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await Listener(runner, app[CONFIG].http).start()
            host, port = runner.addresses[0][:2]
            server = Server(f"http://{host}:{port}", Path(flags["chunks_dir"]))
            stack.push_async_callback(server.hang_up)
            return Starting(server, app[READINESS], runner)

        yield start


@pytest.fixture
async def serve(begin: Begin) -> Serve:
    async def start(renderer: Renderer | None = None, /, **settings: object) -> Server:
        starting = await begin(renderer or NumberRenderer(), **settings)
        await starting.readiness.settled()
        assert starting.readiness.failed is None, starting.readiness.failed
        return starting.server

    return start


@pytest.fixture
async def server(serve: Serve) -> Server:
    return await serve()


@pytest.fixture(scope="session")
def process_server(
    avatar_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ProcessServer]:
    """`python -m musetalk_stream serve` with the built-in renderer, shared by all tests."""
    folder = tmp_path_factory.mktemp("process")
    # Tests run side by side, and more sessions at once than a busy machine would be found to hold.
    flags = ("--capacity-fps", "100000", "--trusted-proxies", "127.0.0.1")
    with start_process(folder, avatar_store, *flags) as running:
        yield running


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line, in this process."""
    for name in list(os.environ):
        if name.startswith("MUSETALK_STREAM_"):
            monkeypatch.delenv(name)

    def run(*arguments: str, **variables: str) -> Result:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        try:
            status = main(arguments)
        except SystemExit as exc:  # argparse's way to end
            status = int(exc.code or 0)
        captured = capsys.readouterr()
        return Result(status, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which the avatars that a server begins with are ready."""
    store = tmp_path_factory.mktemp("stocked")
    make_avatar(store, "tiny")
    make_avatar(store, "other")
    prepare_store(store, shipped_avatars(), EncoderConfig())
    return store


@pytest.fixture
def own_store(stocked: Path, tmp_path: Path) -> Path:
    """A store that the test may change."""
    return Path(shutil.copytree(stocked, tmp_path / "store", copy_function=os.link))


@pytest.fixture
async def avatars(serve: Serve, own_store: Path) -> Avatars:
    """A server with a store of its own."""
    return Avatars(await serve(avatars_dir=own_store), own_store)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 KB."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)
