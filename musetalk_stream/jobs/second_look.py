"""Looking again where somebody says the face is; where it can't be used, the first one stands."""

import shutil
from dataclasses import replace

from ..prepare.request import FaceHint, read_request
from ..prepare.work import Work

_LOOK, _REQUEST = "first-look.json", "first-request.json"


def begin_second_look(work: Work, hint: FaceHint) -> None:
    """The next process looks by this hint. The picture stays until a face is found in another."""
    shutil.copyfile(work.folder / "request.json", work.folder / _REQUEST)
    work.keep(replace(work.request, hint=hint))
    work.look.rename(work.folder / _LOOK)


def undo_second_look(work: Work) -> bool:
    """Whether there was one, without a result."""
    if work.look.exists() or not (work.folder / _LOOK).exists():
        return False
    work.keep(read_request((work.folder / _REQUEST).read_text()))
    (work.folder / _LOOK).rename(work.look)
    return True
