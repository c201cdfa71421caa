"""Everything that can go wrong in a way that a client should understand.

    MuseTalkStreamError
    ├── BadRequest                 400  the request itself is wrong
    │   ├── InvalidParameter       400  invalid_parameter
    │   ├── NoAudioFile            422  no_audio_file
    │   ├── EmptyAudio             422  empty_audio
    │   ├── DamagedAudio           422  damaged_audio
    │   ├── UnsupportedAudio       415  unsupported_audio
    │   ├── UploadStalled          408  upload_stalled
    │   ├── UploadTooLarge         413  upload_too_large
    │   └── AudioTooLong           413  audio_too_long
    ├── NotFound                   404  not_found
    │   ├── SessionNotFound        404  session_not_found
    │   ├── AvatarNotFound         404  avatar_not_found
    │   ├── ChunkNotFound          404  chunk_not_found
    │   └── SessionGone            410  session_gone
    ├── StreamActive               409  stream_active
    ├── Busy                            the same request may succeed later
    │   ├── TooManySessions        429  too_many_sessions
    │   ├── AtCapacity             429  capacity
    │   ├── AvatarNotPrepared      409  avatar_not_prepared
    │   ├── NotReady               503  not_ready
    │   └── RendererLost           503  renderer_lost
    ├── StorageFull                507  storage_full
    ├── RenderFailed               500  render_failed
    └── SetupError                      the server can't start as configured
        ├── WeightsMissing         500  weights_missing
        └── WeightsError           500  weights_error

`status` and `code` are the HTTP face of an error (RFC 9457); `code` is stable and is what a client
switches on. `retryable` says whether the same request may succeed later without being changed.
"""

from typing import ClassVar


class MuseTalkStreamError(Exception):
    """The root; its message is written for the person who sent the request."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Internal error"
    retryable: ClassVar[bool] = False

    @property
    def detail(self) -> str:
        return str(self) or self.title


class BadRequest(MuseTalkStreamError):
    status = 400
    code = "bad_request"
    title = "Bad request"


class InvalidParameter(BadRequest):
    """A parameter is missing, malformed or out of range; the message names it and its range."""

    code = "invalid_parameter"
    title = "Invalid parameter"

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name


class NoAudioFile(BadRequest):
    status = 422
    code = "no_audio_file"
    title = "No audio file"


class EmptyAudio(BadRequest):
    status = 422
    code = "empty_audio"
    title = "Empty audio"


class DamagedAudio(BadRequest):
    status = 422
    code = "damaged_audio"
    title = "Damaged audio"


class UnsupportedAudio(BadRequest):
    status = 415
    code = "unsupported_audio"
    title = "Unsupported audio"


class UploadStalled(BadRequest):
    status = 408
    code = "upload_stalled"
    title = "Upload stalled"
    retryable = True


class UploadTooLarge(BadRequest):
    status = 413
    code = "upload_too_large"
    title = "Upload too large"


class AudioTooLong(BadRequest):
    status = 413
    code = "audio_too_long"
    title = "Audio too long"


class NotFound(MuseTalkStreamError):
    status = 404
    code = "not_found"
    title = "Not found"


class SessionNotFound(NotFound):
    code = "session_not_found"
    title = "Session not found"


class AvatarNotFound(NotFound):
    code = "avatar_not_found"
    title = "Avatar not found"


class ChunkNotFound(NotFound):
    code = "chunk_not_found"
    title = "Chunk not found"


class SessionGone(NotFound):
    status = 410
    code = "session_gone"
    title = "Session gone"


class StreamActive(MuseTalkStreamError):
    status = 409
    code = "stream_active"
    title = "Stream active"
    retryable = True


class Busy(MuseTalkStreamError):
    """The request is fine and may succeed after `retry_after_s` seconds."""

    status = 503
    code = "busy"
    title = "Busy"
    retryable = True

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TooManySessions(Busy):
    status = 429
    code = "too_many_sessions"
    title = "Too many sessions"


class AtCapacity(Busy):
    """Another session would make all of them stall."""

    status = 429
    code = "capacity"
    title = "At capacity"


class AvatarNotPrepared(Busy):
    """The renderer is still making what it needs of this avatar; the message says how far it is."""

    status = 409
    code = "avatar_not_prepared"
    title = "Avatar not prepared"


class NotReady(Busy):
    code = "not_ready"
    title = "Not ready"


class RendererLost(Busy):
    """Nothing is rendered any more until the server is started again."""

    code = "renderer_lost"
    title = "Renderer lost"


class StorageFull(MuseTalkStreamError):
    status = 507
    code = "storage_full"
    title = "Storage full"
    retryable = True


class RenderFailed(MuseTalkStreamError):
    code = "render_failed"
    title = "Rendering failed"


class SetupError(MuseTalkStreamError):
    """Configuration or installation is wrong; the message says what to do."""

    code = "setup_error"
    title = "Setup error"
    exit_status: ClassVar[int] = 1  # of the command that it ends


class WeightsMissing(SetupError):
    """Files that the model needs are not there; the message names the command that gets them."""

    code = "weights_missing"
    title = "Weights missing"
    exit_status = 2


class WeightsError(SetupError):
    """A weight file can't be fetched, read or used; the message says what it is and should be."""

    code = "weights_error"
    title = "Weights error"
