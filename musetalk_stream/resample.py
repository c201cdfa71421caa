"""From audio samples of any rate and layout to mono at the two rates that we use, as they come."""

from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.filter import Graph

from .errors import UnsupportedAudio
from .sound import Samples
from .timeline import EAR_RATE, MODEL_RATE

# FFmpeg's log callback takes the GIL from its own threads: deadlocks and contention.
av.logging.set_level(None)

# Audio samples per second that recorders use, from telephones to studios.
_LOWEST_RATE, _HIGHEST_RATE = 4_000, 768_000

_FULL_SCALE = 2.0**-31  # 32-bit audio samples to ±1


class BothRates:
    """Mono at 48 kHz for the ear and at 16 kHz for the renderer.

    Each holds back a little of what came, for its filter, until `finish`.
    """

    def __init__(self) -> None:
        self._ear = _Resampler(EAR_RATE)
        self._model = _Resampler(MODEL_RATE)

    def add(self, frame: AudioFrame) -> tuple[Samples, Samples]:
        """What can be said now: ear, model."""
        return self._ear.add(frame), self._model.add(frame)

    def finish(self) -> tuple[Samples, Samples]:
        return self._ear.flush(), self._model.flush()


class _Resampler:
    """A stream may change its own rate or layout on the way (chained Ogg): then a new graph takes
    over, so that time goes on where it was."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._graph: Graph | None = None
        self._source: tuple[object, ...] = ()

    def add(self, frame: AudioFrame) -> Samples:
        source = (frame.format.name, frame.layout.name, frame.sample_rate)
        before = _NOTHING
        if source != self._source:
            before = self.flush()
            if not _LOWEST_RATE <= frame.sample_rate <= _HIGHEST_RATE:
                raise UnsupportedAudio(
                    f"{frame.sample_rate} samples per second; "
                    f"send {_LOWEST_RATE} to {_HIGHEST_RATE}"
                )
            self._graph = _resampling_graph(frame, self._rate)
            self._source = source
        # Gaps and jumps in timestamps are the container's business; samples are counted.
        frame.pts = None
        assert self._graph is not None
        self._graph.push(frame)
        return joined([before, *_pulled(self._graph)])

    def flush(self) -> Samples:
        graph, self._graph, self._source = self._graph, None, ()
        if graph is None:
            return _NOTHING
        graph.push(None)
        return joined(_pulled(graph))


_NOTHING: Samples = np.zeros(0, np.float32)


def joined(parts: list[Samples]) -> Samples:
    """Stretches of sound, one after another."""
    some = [part for part in parts if len(part)]
    return some[0] if len(some) == 1 else np.concatenate([_NOTHING, *some])


def _pulled(graph: Graph) -> list[Samples]:
    found: list[Samples] = []
    while True:
        try:
            resampled = graph.pull()
        except (BlockingIOError, EOFError):  # it wants more input, or will get none
            return found
        assert isinstance(resampled, AudioFrame)
        samples: npt.NDArray[np.int32] = resampled.to_ndarray()[0]
        found.append(np.multiply(samples, _FULL_SCALE, dtype=np.float32, casting="unsafe"))


def _resampling_graph(frame: AudioFrame, rate: int) -> Graph:
    """From what `frame` is to mono at `rate`.

    Like PyAV's AudioResampler, but without threads: graphs lie in reference cycles, and theirs
    would live on until the garbage is collected.
    """
    graph = Graph()
    graph.threads = 1
    source = graph.add_abuffer(
        sample_rate=frame.sample_rate,
        format=frame.format.name,
        layout=frame.layout.name,
        time_base=Fraction(1, frame.sample_rate),
    )
    # To an integer format, because only there FFmpeg scales a downmix to full scale: as float,
    # equal channels of a stereo file would come out 3 dB too loud, and clip.
    wanted = graph.add("aformat", f"sample_fmts=s32p:channel_layouts=mono:sample_rates={rate}")
    graph.link_nodes(source, wanted, graph.add("abuffersink")).configure()
    return graph
