"""Which finder of faces there is, and what to do if there is none."""

from pathlib import Path

from ...errors import FaceFinderMissing
from ...weights import OFFICIAL_FILES, command
from .face import FaceFinder

_BY_HAND = "or mark the face by hand (face_box or landmarks)"
_INSTALL = (
    "pip install 'musetalk-stream[face]' (in a checkout scripts/serve does it; Python 3.11 or 3.12)"
)
_GET_DWPOSE = "get it (musetalk-stream weights --download; onnxruntime: pip install onnxruntime)"


def make_finder(choice: str, models_dir: Path) -> FaceFinder:
    """The finder of the setting `face_finder`: "mediapipe", "dwpose", or "auto" for the first of
    them that is there.

    Raises FaceFinderMissing, which says what to install; WeightsError if DWPose's file is wrong.
    """
    reasons = []
    for name in ("mediapipe", "dwpose") if choice == "auto" else (choice,):
        try:
            return _mediapipe() if name == "mediapipe" else _dwpose(models_dir)
        except FaceFinderMissing as exc:
            reasons.append(str(exc))
    raise finder_missing(
        *reasons, install=_get_dwpose(models_dir) if choice == "dwpose" else _INSTALL
    )


def finder_missing(*reasons: str, install: str = _INSTALL) -> FaceFinderMissing:
    """What there is to say where no finder is."""
    why = "; ".join(reasons) or "no face finder is installed"
    return FaceFinderMissing(f"faces can't be found here ({why}): {install}, {_BY_HAND}")


def _get_dwpose(models_dir: Path) -> str:
    return f"{command(models_dir, 'v15')} (and pip install onnxruntime)"


def _mediapipe() -> FaceFinder:
    try:
        from .mesh import MeshFinder
    except (ImportError, OSError, AttributeError) as exc:  # or what it needs of the system
        if isinstance(exc.__cause__ or exc.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from exc  # its C++ makes an ImportError of it
        raise FaceFinderMissing(f"mediapipe can't be loaded: {exc}") from exc
    return MeshFinder()


def _dwpose(models_dir: Path) -> FaceFinder:
    file = next(file for file in OFFICIAL_FILES if file.role == "pose")
    path = file.find(models_dir)
    if path is None:
        raise FaceFinderMissing(f"dwpose needs {file.place(models_dir)}")
    try:
        from .dwpose import DwposeFinder
    except (ImportError, OSError) as exc:
        raise FaceFinderMissing(f"onnxruntime can't be loaded: {exc}") from exc
    return DwposeFinder(path)
