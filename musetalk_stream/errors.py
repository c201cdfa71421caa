"""Everything that can go wrong in a way that a client should understand.

    MuseTalkStreamError
    ├── BadRequest                 400  the request itself is wrong
    │   ├── InvalidParameter       400  invalid_parameter
    │   ├── NoAudioFile            422  no_audio_file
    │   ├── EmptyAudio             422  empty_audio
    │   ├── DamagedAudio           422  damaged_audio
    │   ├── UnsupportedEncoding    415  unsupported_encoding
    │   ├── UnsupportedAudio       415  unsupported_audio
    │   ├── UploadStalled          408  upload_stalled
    │   ├── UploadAborted          400  upload_aborted
    │   ├── UploadTooLarge         413  upload_too_large
    │   ├── AudioTooLong           413  audio_too_long
    │   ├── NoMediaFile            422  no_media_file
    │   ├── EmptyMedia             422  empty_media
    │   ├── DamagedMedia           422  damaged_media
    │   ├── UnsupportedMedia       415  unsupported_media
    │   ├── MediaTooLong           413  media_too_long
    │   ├── MediaTooLarge          413  media_too_large
    │   ├── NoFace                 422  no_face
    │   ├── FaceCut                422  face_cut
    │   ├── FaceTooSmall           422  face_too_small
    │   ├── UnsupportedAvatar      422  unsupported_avatar
    │   ├── InvalidCaptions        422  invalid_captions
    │   └── CaptionsTooLarge       413  captions_too_large
    ├── Unauthorized               401  unauthorized
    │   ├── InvalidCredentials     401  invalid_credentials
    │   └── TokenExpired           401  token_expired
    ├── Forbidden                  403  forbidden
    ├── ForeignOrigin              403  foreign_origin
    ├── ForeignHost                403  foreign_host
    ├── NotFound                   404  not_found
    │   ├── SessionNotFound        404  session_not_found
    │   ├── AvatarNotFound         404  avatar_not_found
    │   ├── ChunkNotFound          404  chunk_not_found
    │   ├── JobNotFound            404  job_not_found
    │   ├── RecordingNotFound      404  recording_not_found
    │   ├── UtteranceNotFound      404  utterance_not_found
    │   ├── NothingToPlay          404  nothing_to_play
    │   └── SessionGone            410  session_gone
    ├── Conflict                        what is there stands against it
    │   ├── StreamActive           409  stream_active
    │   ├── UtteranceEnded         409  utterance_ended
    │   ├── AvatarExists           409  avatar_exists
    │   ├── AvatarInUse            409  avatar_in_use
    │   ├── AvatarProtected        409  avatar_protected
    │   ├── NoRecording            409  no_recording
    │   └── NotAwaitingApproval    409  not_awaiting_approval
    ├── Busy                            the same request may succeed later
    │   ├── RateLimited            429  rate_limited
    │   ├── QuotaExceeded          429  quota_exceeded
    │   ├── TooManySessions        429  too_many_sessions
    │   ├── TooManySessionsOfUser  429  too_many_sessions_of_user
    │   ├── TooManyUtterancesOfUser 429 too_many_utterances_of_user
    │   ├── TooManyConnections     503  too_many_connections
    │   ├── AtCapacity             429  capacity
    │   ├── TooManyJobs            429  too_many_jobs
    │   ├── QueueFull              429  queue_full
    │   ├── AvatarNotPrepared      409  avatar_not_prepared
    │   ├── NotReady               503  not_ready
    │   ├── NotYet                 503  not_yet
    │   ├── RendererLost           503  renderer_lost
    │   ├── ServerRestarted        503  server_restarted
    │   └── ShuttingDown           503  shutting_down
    ├── NotWatched                 409  not_watched
    ├── StorageFull                507  storage_full
    │   └── StorageFailed          507  storage_failed
    ├── RenderFailed               500  render_failed
    ├── PreparationFailed          500  preparation_failed
    ├── FaceFinderMissing          501  face_finder_missing
    ├── NoWebRtc                   501  webrtc_not_offered
    └── SetupError                      the server can't start as configured
        ├── WeightsMissing         500  weights_missing
        └── WeightsError           500  weights_error

`status` and `code` are the HTTP face of an error (RFC 9457); `code` is stable and is what a client
switches on. `retryable` says whether the same request may succeed later without being changed, and
without doing twice what was done in part.
"""

from typing import ClassVar


class MuseTalkStreamError(Exception):
    """The root; its message is written for the person who sent the request."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Internal error"
    retryable: bool = False

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


class UnsupportedEncoding(BadRequest):
    status = 415
    code = "unsupported_encoding"
    title = "Unsupported encoding"


class UnsupportedAudio(BadRequest):
    status = 415
    code = "unsupported_audio"
    title = "Unsupported audio"


class UploadStalled(BadRequest):
    status = 408
    code = "upload_stalled"
    title = "Upload stalled"
    retryable = True


class UploadAborted(BadRequest):
    """Who sent it has gone before its end: nobody reads this answer, but events name its code."""

    code = "upload_aborted"
    title = "Upload aborted"
    retryable = True


class UploadTooLarge(BadRequest):
    status = 413
    code = "upload_too_large"
    title = "Upload too large"


class AudioTooLong(BadRequest):
    status = 413
    code = "audio_too_long"
    title = "Audio too long"


class NoMediaFile(BadRequest):
    status = 422
    code = "no_media_file"
    title = "No picture or video"


class EmptyMedia(BadRequest):
    status = 422
    code = "empty_media"
    title = "Empty file"


class DamagedMedia(BadRequest):
    status = 422
    code = "damaged_media"
    title = "Damaged picture or video"


class UnsupportedMedia(BadRequest):
    status = 415
    code = "unsupported_media"
    title = "Not a picture or video"


class MediaTooLong(BadRequest):
    status = 413
    code = "media_too_long"
    title = "Video too long"


class MediaTooLarge(BadRequest):
    """More pixels than are taken; a file of too many bytes is UploadTooLarge."""

    status = 413
    code = "media_too_large"
    title = "Picture too large"


class NoFace(BadRequest):
    status = 422
    code = "no_face"
    title = "No face found"


class FaceCut(BadRequest):
    """The border of the picture cuts what must be seen of the face."""

    status = 422
    code = "face_cut"
    title = "Face cut off"


class FaceTooSmall(BadRequest):
    status = 422
    code = "face_too_small"
    title = "Face too small"


class UnsupportedAvatar(BadRequest):
    """A folder that should be an official MuseTalk avatar and can't be used as one."""

    status = 422
    code = "unsupported_avatar"
    title = "Avatar can't be imported"


class InvalidCaptions(BadRequest):
    """The message names the cue that is wrong."""

    status = 422
    code = "invalid_captions"
    title = "Invalid captions"


class CaptionsTooLarge(BadRequest):
    status = 413
    code = "captions_too_large"
    title = "Captions too large"


class Unauthorized(MuseTalkStreamError):
    """Who asks has not said who they are, or what they said does not count."""

    status = 401
    code = "unauthorized"
    title = "Not authorised"
    challenge: ClassVar[str] = "Bearer"  # of `WWW-Authenticate`


class InvalidCredentials(Unauthorized):
    code = "invalid_credentials"
    title = "Invalid credentials"
    challenge = 'Bearer error="invalid_token"'


class TokenExpired(Unauthorized):
    code = "token_expired"
    title = "Token expired"
    challenge = 'Bearer error="invalid_token"'


class Forbidden(MuseTalkStreamError):
    """Who asks is known, and may not do this; the message never says whether it would be there."""

    status = 403
    code = "forbidden"
    title = "Forbidden"


class ForeignOrigin(MuseTalkStreamError):
    """A page of another website asks for what only our own pages, and those listed, may do."""

    status = 403
    code = "foreign_origin"
    title = "Foreign origin"


class ForeignHost(MuseTalkStreamError):
    """Who asks a server that has no keys calls it by a name that is not this machine's."""

    status = 403
    code = "foreign_host"
    title = "Foreign host"


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


class JobNotFound(NotFound):
    code = "job_not_found"
    title = "Job not found"


class UtteranceNotFound(NotFound):
    code = "utterance_not_found"
    title = "Utterance not found"


class NothingToPlay(NotFound):
    """Nothing of the utterance was made, or not all that its recording needs."""

    code = "nothing_to_play"
    title = "Nothing to play"


class SessionGone(NotFound):
    status = 410
    code = "session_gone"
    title = "Session gone"


class Conflict(MuseTalkStreamError):
    """The request is fine, but something that is there stands against it."""

    status = 409
    code = "conflict"
    title = "Conflict"


class StreamActive(Conflict):
    code = "stream_active"
    title = "Stream active"
    retryable = True


class UtteranceEnded(Conflict):
    """It was interrupted or cancelled while its sound was still arriving."""

    code = "utterance_ended"
    title = "Utterance ended"


class AvatarExists(Conflict):
    code = "avatar_exists"
    title = "Avatar exists"


class AvatarInUse(Conflict):
    code = "avatar_in_use"
    title = "Avatar in use"
    retryable = True


class AvatarProtected(Conflict):
    code = "avatar_protected"
    title = "Avatar protected"


class NotAwaitingApproval(Conflict):
    code = "not_awaiting_approval"
    title = "Nothing to approve"


class Busy(MuseTalkStreamError):
    """The request is fine and may succeed after `retry_after_s` seconds."""

    status = 503
    code = "busy"
    title = "Busy"
    retryable = True

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RateLimited(Busy):
    status = 429
    code = "rate_limited"
    title = "Too many requests"


class QuotaExceeded(Busy):
    """More was uploaded within an hour than one key, or one address, may."""

    status = 429
    code = "quota_exceeded"
    title = "Upload quota exceeded"


class TooManyConnections(Busy):
    code = "too_many_connections"
    title = "Too many connections"


class TooManySessions(Busy):
    status = 429
    code = "too_many_sessions"
    title = "Too many sessions"


class TooManySessionsOfUser(Busy):
    status = 429
    code = "too_many_sessions_of_user"
    title = "Too many sessions of this user"


class TooManyUtterancesOfUser(Busy):
    status = 429
    code = "too_many_utterances_of_user"
    title = "Too many utterances of this user"


class AtCapacity(Busy):
    """Another session would make all of them stall."""

    status = 429
    code = "capacity"
    title = "At capacity"


class TooManyJobs(Busy):
    status = 429
    code = "too_many_jobs"
    title = "Too many jobs"


class QueueFull(Busy):
    status = 429
    code = "queue_full"
    title = "Queue full"


class AvatarNotPrepared(Busy):
    """The renderer is still making what it needs of this avatar; the message says how far it is."""

    status = 409
    code = "avatar_not_prepared"
    title = "Avatar not prepared"


class NotReady(Busy):
    code = "not_ready"
    title = "Not ready"


class NotYet(Busy):
    """What is asked for will be there, but not as soon as a request may wait."""

    code = "not_yet"
    title = "Not there yet"


class RendererLost(Busy):
    """Nothing is rendered until the renderer, or the server, has been started again."""

    code = "renderer_lost"
    title = "Renderer lost"


class ShuttingDown(Busy):
    """Nothing new is begun: the server is about to end."""

    code = "shutting_down"
    title = "Shutting down"


class NotWatched(MuseTalkStreamError):
    """There was more to make of an utterance, and nobody fetched what there was."""

    status = 409
    code = "not_watched"
    title = "Nobody watches"
    retryable = True


class ServerRestarted(Busy):
    """The server ended while this was said; the next one knows no more of it than that."""

    code = "server_restarted"
    title = "Server restarted"


class NoRecording(Conflict):
    """The operator has not allowed that anything is recorded."""

    code = "no_recording"
    title = "Nothing is recorded here"


class RecordingNotFound(NotFound):
    code = "recording_not_found"
    title = "Recording not found"


class StorageFull(MuseTalkStreamError):
    status = 507
    code = "storage_full"
    title = "Storage full"
    retryable = True


class StorageFailed(StorageFull):
    """Nothing can be written, for another reason than want of room."""

    code = "storage_failed"
    title = "Storage failed"


class RenderFailed(MuseTalkStreamError):
    code = "render_failed"
    title = "Rendering failed"


class PreparationFailed(MuseTalkStreamError):
    code = "preparation_failed"
    title = "Preparation failed"


class NoWebRtc(MuseTalkStreamError):
    """A client of another kind of server would negotiate a connection; the message says what there
    is instead."""

    status = 501
    code = "webrtc_not_offered"
    title = "No WebRTC"


class FaceFinderMissing(MuseTalkStreamError):
    """Nothing that finds faces is installed; the message says what to install, or to do instead."""

    status = 501
    code = "face_finder_missing"
    title = "Faces can't be found here"


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
