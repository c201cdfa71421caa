"""API keys and tokens by themselves: how they are kept, read, revoked; what each may."""

import json
import stat
import threading
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest
from servers import Command

from musetalk_stream.access import NOBODY, OPS, PUBLIC, SPEAK, VIEW, Caller, Right, Scope
from musetalk_stream.clock import steady_clock
from musetalk_stream.config import load
from musetalk_stream.errors import Forbidden, InvalidCredentials, SetupError, TokenExpired
from musetalk_stream.exposure import is_local, require_closed_or_local
from musetalk_stream.keys import KeyRing, add_key, read_keys, revoke_key
from musetalk_stream.tokens import ALL_RIGHTS, VIEWING, Claims, Tokens, token_secret

ALL = frozenset(Scope)


def test_a_key_is_kept_as_a_hash_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    key, secret = add_key(folder, "backend", frozenset({Scope.SESSIONS}))
    path = folder / "keys.json"
    assert secret.startswith(f"mts_{key.id}_")
    assert secret.removeprefix(f"mts_{key.id}_") not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert read_keys(folder) == {key.id: key}
    assert not list(folder.glob(".*"))


def test_a_folder_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    """It may be the machine's; where everybody can write, anybody could put keys of their own."""
    tmp_path.chmod(0o755)
    add_key(tmp_path, "one", ALL)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    tmp_path.chmod(0o1777)
    for keeping in (lambda: add_key(tmp_path, "two", ALL), lambda: token_secret(tmp_path)):
        with pytest.raises(SetupError, match="a folder of its own"):
            keeping()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o1777
    assert len(read_keys(tmp_path)) == 1


def test_what_was_told_has_reached_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file, and then that it is this one: a revoked key must not come back."""
    key, _ = add_key(tmp_path, "one", ALL)
    synced: list[tuple[str, bool]] = []

    def sync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append((path.name, read_keys(tmp_path)[key.id].revoked is not None))

    monkeypatch.setattr("os.fsync", sync)
    revoke_key(tmp_path, key.id)
    assert [is_revoked for _, is_revoked in synced] == [False, True]
    assert synced[-1][0] == tmp_path.name


def test_what_counts(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path)
    ring.look()
    assert not ring.is_closed
    key, secret = add_key(tmp_path, "one", ALL)
    assert ring.look()
    assert not ring.look()  # nothing has changed
    found = ring.find(secret)
    assert found == key
    for wrong in (
        secret[:-1], secret + "A", secret.upper(), secret[::-1],
        f" {secret}", "mts_", f"mts_{key.id}_", "ü" * 60, "mts_000000000000_" + "A" * 43, "\udcff",
    ):  # fmt: skip
        assert ring.find(wrong) is None, wrong
    revoke_key(tmp_path, key.id)
    ring.look()
    assert ring.find(secret) is None
    assert not ring.counts(key.id)
    assert ring.is_closed  # though no key counts any more


def test_a_server_never_opens_again(tmp_path: Path) -> None:
    _, secret = add_key(tmp_path, "one", ALL)
    ring = KeyRing(tmp_path)
    ring.look()
    (tmp_path / "keys.json").write_text("{")
    with pytest.raises(SetupError, match="damaged"):
        ring.look()
    assert ring.find(secret)  # what it knew still counts
    (tmp_path / "keys.json").unlink()
    ring.look()
    assert ring.is_closed
    assert ring.find(secret) is None


@pytest.mark.parametrize("first", ["{", '{"version": 1, "keys": []}', None])
def test_a_first_file_closes_whatever_is_in_it(tmp_path: Path, first: str | None) -> None:
    ring = KeyRing(tmp_path / "state")
    ring.look()
    assert not ring.is_closed
    if first is None:
        (tmp_path / "state").touch()  # so that what would be in it can't be known
    else:
        (tmp_path / "state").mkdir()
        (tmp_path / "state/keys.json").write_text(first)
    with suppress(SetupError):
        ring.look()
    assert ring.is_closed


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", '{"version": 2, "keys": []}', '{"version": 1}', "\0",
     '{"version": 1, "keys": [{"id": "x"}]}', '{"version": 1, "keys": [5]}', "[" * 5000,
     '{"version": 1, "keys": [{"id": "000000000000", "name": "x", "scopes": ["root"], '
     '"sha256": "' + "0" * 64 + '", "created": 1, "revoked": null}]}'],
    ids=lambda text: text[:30],
)  # fmt: skip
def test_a_damaged_file_is_said_plainly(tmp_path: Path, text: str) -> None:
    (tmp_path / "keys.json").write_text(text)
    with pytest.raises(SetupError, match="keys add"):
        read_keys(tmp_path)
    with pytest.raises(SetupError):
        add_key(tmp_path, "more", ALL)
    assert (tmp_path / "keys.json").read_text() == text


def test_keys_that_are_added_at_once_are_all_kept(tmp_path: Path) -> None:
    adding = [threading.Thread(target=add_key, args=(tmp_path, f"k{n}", ALL)) for n in range(12)]
    for thread in adding:
        thread.start()
    for thread in adding:
        thread.join()
    assert len(read_keys(tmp_path)) == 12


# --- tokens


def tokens(folder: Path, now_s: float = 1000.0) -> Tokens:
    return Tokens(token_secret(folder), lambda: now_s)


CLAIMS = Claims("s" * 22, frozenset({Right.VIEW, Right.SPEAK}), 1100, "0123456789ab")


def test_a_token_says_what_was_put_in(tmp_path: Path) -> None:
    token = tokens(tmp_path).make(CLAIMS)
    assert tokens(tmp_path).read(token) == CLAIMS  # by the secret that was kept
    assert stat.S_IMODE((tmp_path / "token_secret").stat().st_mode) == 0o600
    assert CLAIMS.caller.rights == CLAIMS.rights
    assert not CLAIMS.caller.scopes


def test_a_token_ends_when_its_time_is_over(tmp_path: Path) -> None:
    token = tokens(tmp_path).make(CLAIMS)
    assert tokens(tmp_path, 1099.9).read(token)
    with pytest.raises(TokenExpired):
        tokens(tmp_path, 1100).read(token)


def test_nothing_else_is_a_token(tmp_path: Path) -> None:
    its = tokens(tmp_path)
    token = its.make(CLAIMS)
    payload, _, signature = token.rpartition(".")
    stronger = its.make(Claims(CLAIMS.session_id, ALL_RIGHTS, 9999, CLAIMS.key_id))
    wrong = [
        "", ".", "x", "a.b", payload, f"{payload}.", f".{signature}", token[:-2], token + "A",
        f"{stronger.rpartition('.')[0]}.{signature}", f"{token}\n", f" {token}", f"{token}!",
        f"{payload}.{signature[:10]}\n{signature[10:]}", "ü", "\udcff", "A" * 100_000,
        Tokens("another secret of forty characters......", lambda: 0.0).make(CLAIMS),
    ]  # fmt: skip
    for said in wrong:
        with pytest.raises(InvalidCredentials):
            its.read(said)


def test_two_servers_that_start_at_once_have_one_secret(tmp_path: Path) -> None:
    found: list[str] = []
    starting = [
        threading.Thread(target=lambda: found.append(token_secret(tmp_path))) for _ in range(8)
    ]
    for thread in starting:
        thread.start()
    for thread in starting:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["token_secret"]


def test_a_damaged_secret_is_said_plainly(tmp_path: Path) -> None:
    (tmp_path / "token_secret").write_text("short\n")
    with pytest.raises(SetupError, match="delete it"):
        token_secret(tmp_path)


def test_a_clock_that_is_set_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = steady_clock()
    before = clock()
    monkeypatch.setattr("time.time", lambda: before + 86_400)
    assert 0 <= clock() - before < 60


# --- who may what


def test_needs() -> None:
    key = Caller("k", scopes=frozenset({Scope.SESSIONS}))
    token = Caller("k", session_id="mine", rights=VIEWING)
    VIEW.require(key, "any")
    VIEW.require(token, "mine")
    for need, caller, session_id in [
        (OPS, key, None), (VIEW, token, "other"), (SPEAK, token, "mine"), (OPS, token, None),
        (VIEW, NOBODY, "mine"), (VIEW, token, None),
        (VIEW, Caller("k", scopes=frozenset({Scope.AVATARS})), "mine"),
    ]:  # fmt: skip
        with pytest.raises(Forbidden):
            need.require(caller, session_id)
    assert PUBLIC.is_public


def test_who_sees_what() -> None:
    mine, other = (Caller(k, scopes=frozenset({Scope.SESSIONS})) for k in "ab")
    operator = Caller("c", scopes=frozenset({Scope.OPS}))
    token = Caller("a", session_id="s", rights=VIEWING)
    assert mine.owns("a")
    assert not other.owns("a")
    assert operator.owns("a")
    assert not token.owns("a")
    assert token.sees("b", "s")
    assert not token.sees("a", "t")
    assert not NOBODY.owns("")  # what was made while the server was open


# --- the command


def test_the_life_of_a_key(command: Command, tmp_path: Path) -> None:
    where = ("--state-dir", str(tmp_path / "state"))
    added = command("keys", "add", "--name", "Ours", "--scopes", "sessions,ops", *where)
    assert added.returncode == 0
    secret = added.stdout.splitlines()[0]
    ring = KeyRing(tmp_path / "state")
    ring.look()
    found = ring.find(secret)
    assert found
    assert found.scopes == {Scope.SESSIONS, Scope.OPS}
    listed = command("keys", "list", *where)
    assert found.id in listed.stdout
    assert "sessions,ops" in listed.stdout
    assert secret not in listed.stdout
    assert command("keys", "revoke", found.id, *where).returncode == 0
    assert json.loads((tmp_path / "state/keys.json").read_text())["keys"][0]["revoked"]
    assert command("keys", "revoke", found.id, *where).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("add", "--name", "x", "--scopes", "root"), "sessions, avatars, ops, metrics"),
        (("add", "--name", "x", "--scopes", ","), "needs a scope"),
        (("add", "--name", "", "--scopes", "ops"), "1 to 80"),
        (("add", "--name", "a\nb", "--scopes", "ops"), "1 to 80"),
        (("revoke", "nobody"), "keys list"),
    ],
)
def test_what_is_refused(
    command: Command, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = command("keys", *arguments, "--state-dir", str(tmp_path / "state"))
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr


# --- an open server stays at home


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True), ("127.3.2.1", True), ("::1", True), ("localhost", True),
        ("::ffff:127.0.0.1", True), ("0.0.0.0", False), ("::", False), ("", False),
        ("192.0.2.1", False), ("2001:db8::1", False), ("::ffff:0.0.0.0", False),
    ],
)  # fmt: skip
def test_which_addresses_are_local(host: str, expected: bool) -> None:
    assert is_local(host) is expected


def test_an_open_server_is_not_put_on_the_internet(command: Command, tmp_path: Path) -> None:
    where = ("--host", "0.0.0.0", "--port", "0", "--state-dir", str(tmp_path / "state"))
    refused = command("serve", *where)
    assert refused.returncode == 1
    assert "keys add" in refused.stderr
    assert "--no-auth" in refused.stderr


@pytest.mark.parametrize(
    ("public_url", "is_refused"),
    [("https://talk.example", True), ("http://192.0.2.1:8000/avatar", True),
     ("http://LOCALHOST:8000", False), ("https://[::1]/", False), ("", False)],
)  # fmt: skip
def test_an_open_server_has_no_name_in_the_world(
    tmp_path: Path, public_url: str, is_refused: bool
) -> None:
    config = load({"public_url": public_url, "state_dir": str(tmp_path)}, environ={})
    told = pytest.raises(SetupError, match="keys add") if is_refused else nullcontext()
    with told:
        require_closed_or_local(config)


@pytest.mark.parametrize("reached", [{"host": "0.0.0.0"}, {"public_url": "https://talk.example"}])
def test_both_ways_out(tmp_path: Path, reached: dict[str, str]) -> None:
    everywhere = {**reached, "state_dir": str(tmp_path)}
    require_closed_or_local(load({**everywhere, "no_auth": "true"}, environ={}))
    key, _ = add_key(tmp_path, "one", ALL)
    require_closed_or_local(load(everywhere, environ={}))
    revoke_key(tmp_path, key.id)  # that was the last one, and the server stays closed
    require_closed_or_local(load(everywhere, environ={}))
    with pytest.raises(SetupError, match="leave out --no-auth"):
        require_closed_or_local(load({**everywhere, "no_auth": "true"}, environ={}))
