"""How much may one user have at once? Users are told apart by the `user_id` with which sessions are
created, those of each API key by themselves; sessions without one are nobody's, and not counted."""

from collections.abc import Iterable

from .errors import TooManySessionsOfUser, TooManyUtterancesOfUser
from .options import OnBusy
from .sessions import Session

_TRY_AGAIN_S = 5  # what whoever has too many sessions is told to wait
_SPEAK_AGAIN_S = 1  # and too many utterances


class UserLimits:
    """max_sessions, max_utterances   0: no limit"""

    def __init__(self, max_sessions: int, max_utterances: int) -> None:
        self._max_sessions = max_sessions
        self._max_utterances = max_utterances

    def require_session(self, sessions: Iterable[Session], owner: str, user_id: str | None) -> None:
        """There may be one more. Raises TooManySessionsOfUser."""
        if not (self._max_sessions and user_id):
            return
        if sum(1 for _ in _of_user(sessions, owner, user_id)) >= self._max_sessions:
            raise TooManySessionsOfUser(
                f"this user has {self._max_sessions} sessions, which is the most: delete one, or "
                "use it again",
                _TRY_AGAIN_S,
            )

    def require_utterance(
        self, sessions: Iterable[Session], session: Session, on_busy: OnBusy
    ) -> None:
        """One more may be said in a session: what it would interrupt makes room, and where it would
        be refused, that is what is told. Raises TooManyUtterancesOfUser."""
        if not (self._max_utterances and session.user_id):
            return
        if on_busy is OnBusy.REJECT and session.num_active:
            return
        of_user = _of_user(sessions, session.owner, session.user_id)
        active = sum(each.num_active for each in of_user)
        if on_busy is OnBusy.REPLACE:
            active -= session.num_active
        if active >= self._max_utterances:
            raise TooManyUtterancesOfUser(
                f"{self._max_utterances} utterances of this user are spoken or wait, which is the "
                "most: wait for one of them, or interrupt",
                _SPEAK_AGAIN_S,
            )


def _of_user(sessions: Iterable[Session], owner: str, user_id: str) -> Iterable[Session]:
    return (each for each in sessions if (each.owner, each.user_id) == (owner, user_id))
