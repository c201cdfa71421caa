"""Settings: flags over variables over defaults, and clear words for wrong ones."""

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from servers import Command

from musetalk_stream.config import (
    ENV_PREFIX,
    WEBRTC_PREBUFFER,
    Config,
    EncoderConfig,
    default_of,
    load,
    settings,
    webrtc_remarks,
)
from musetalk_stream.errors import SetupError


def test_defaults_are_in_range() -> None:
    config = load({}, environ={})
    assert config.http.port == 8000
    for section, spec in settings():
        assert getattr(getattr(config, section), spec.name) == default_of(spec)


def test_a_flag_wins_over_a_variable_and_a_variable_over_the_default() -> None:
    environ = {f"{ENV_PREFIX}PORT": "9001", f"{ENV_PREFIX}MAX_SESSIONS": "7"}
    config = load({"port": "9002"}, environ=environ)
    assert config.http.port == 9002
    assert config.session.max_sessions == 7


def test_other_variables_are_none_of_our_business() -> None:
    assert load({}, environ={"PORT": "x", "MUSETALK": "y"}) == Config()


def test_a_misspelt_variable_is_named() -> None:
    with pytest.raises(SetupError, match="MUSETALK_STREAM_PROT"):
        load({}, environ={"MUSETALK_STREAM_PROT": "8000"})


@pytest.mark.parametrize(
    ("flags", "ours", "theirs", "expected"),
    [
        ({}, None, "0.15", 0.15),
        ({}, "0.4", "0.15", 0.4),
        ({}, "0.4", "much", 0.4),
        ({"prebuffer_s": "0.5"}, None, "0.15", 0.5),
        ({}, None, None, 0.2),
        ({}, None, "", 0.2),
        ({}, None, "2.5", 2),
    ],
)
def test_the_prebuffer_of_webrtc_is_ours_unless_ours_is_set(
    flags: dict[str, str], ours: str | None, theirs: str | None, expected: float
) -> None:
    said = {f"{ENV_PREFIX}PREBUFFER_S": ours, WEBRTC_PREBUFFER: theirs}
    environ = {name: text for name, text in said.items() if text is not None}
    assert load(flags, environ=environ).session.prebuffer_s == expected


@pytest.mark.parametrize("value", ["much", "-0.1", "nan"])
def test_a_wrong_prebuffer_of_webrtc_is_named(value: str) -> None:
    with pytest.raises(SetupError, match=f"{WEBRTC_PREBUFFER} sets prebuffer_s, and prebuffer_s"):
        load({}, environ={WEBRTC_PREBUFFER: value})


def test_what_webrtc_needed_and_we_do_not_is_named_without_its_value() -> None:
    environ = {
        "WEBRTC_TURN_URLS": "turn:relay.example",
        "WEBRTC_TURN_PASS": "secret",
        "WEBRTC_STUN_URLS": "",
        "WEBRTC_AUDIO_MAX_LEAD_SECONDS": "0.08",
        "WEBRTC_AUDIO_MAX_LAG_SECONDS": "0.12",
        "WEBRTC_LOGLEVEL": "9",
        WEBRTC_PREBUFFER: "0.15",
    }
    said = webrtc_remarks(environ)
    assert [sentence.split()[0] for sentence in said] == [
        "WEBRTC_AUDIO_MAX_LAG_SECONDS",
        "WEBRTC_AUDIO_MAX_LEAD_SECONDS",
        "WEBRTC_STUN_URLS",
        "WEBRTC_TURN_PASS",
        "WEBRTC_TURN_URLS",
    ]
    assert all(" has no effect here: " in sentence for sentence in said)
    assert "secret" not in " ".join(said)
    assert webrtc_remarks({}) == webrtc_remarks({WEBRTC_PREBUFFER: ""}) == []


def test_a_prebuffer_of_webrtc_above_ours_is_named() -> None:
    assert webrtc_remarks({WEBRTC_PREBUFFER: "2.5"}) == [
        f"{WEBRTC_PREBUFFER} counts as 2, the most here"
    ]
    assert webrtc_remarks({WEBRTC_PREBUFFER: "much", f"{ENV_PREFIX}PREBUFFER_S": "1"}) == []


def test_check_names_what_has_no_effect(command: Command, avatar_store: Path) -> None:
    result = command("serve", "--check", "--avatars-dir", str(avatar_store),
                     WEBRTC_TURN_PASS="secret", WEBRTC_AUDIO_PREBUFFER_SECONDS="0.15")  # fmt: skip
    assert "session.prebuffer_s = 0.15  (set)" in result.stdout
    assert "musetalk-stream: WEBRTC_TURN_PASS has no effect here: " in result.stderr
    assert "secret" not in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("port", "http", "port must be a whole number, not 'http'"),
        ("port", "", "must be a whole number"),
        ("port", "80.5", "must be a whole number"),
        ("port", "65536", "its maximum is 65535"),
        ("port", "-1", "its minimum is 0"),
        ("max_sessions", "0", "its minimum is 1"),
        ("crf", "nan", "finite"),
        ("session_idle_s", "inf", "finite"),
        ("max_audio_s", "-inf", "finite"),
        ("crf", "51.5", "its maximum is 51"),
        ("preset", "placebo", "preset must be one of ultrafast, superfast"),
        ("renderer", "magic", "renderer must be one of"),
        ("log_level", "INFO", "log_level must be one of"),
        ("chunk_store_mb", "1e3", "must be a whole number"),
    ],
)
def test_wrong_values_are_named(name: str, value: str, message: str) -> None:
    with pytest.raises(SetupError, match=message) as caught:
        load({name: value}, environ={})
    assert name in str(caught.value)
    with pytest.raises(SetupError, match=message):
        load({}, environ={ENV_PREFIX + name.upper(): value})


def test_folders_are_absolute_and_know_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    config = load({"chunks_dir": "~/c", "avatars_dir": "a"}, environ={})
    assert config.storage.chunks_dir == tmp_path / "c"
    assert config.storage.avatars_dir == tmp_path / "a"


def test_aliases() -> None:
    assert load({"avatar_aliases": "a=b, c=d,"}, environ={}).session.aliases() == {
        "a": "b",
        "c": "d",
    }
    assert load({"avatar_aliases": ""}, environ={}).session.aliases() == {}
    with pytest.raises(SetupError, match="NAME=ID"):
        load({"avatar_aliases": "a="}, environ={}).session.aliases()


def test_configuration_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        EncoderConfig().crf = 3  # type: ignore[misc]


def test_names_are_unique_over_all_sections() -> None:
    names = [spec.name for _, spec in settings()]
    assert len(set(names)) == len(names)


def test_every_setting_is_explained() -> None:
    for _, spec in settings():
        assert len(spec.metadata["help"]) > 10, spec.name
