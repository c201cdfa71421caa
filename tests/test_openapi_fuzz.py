"""Whatever the contract allows is answered as it tells: a slice of what `scripts/fuzz schema`
sends, to a server with keys."""

from pathlib import Path

from schema_fuzz import run, serving


def test_answers_are_those_that_are_documented(own_store: Path, tmp_path: Path) -> None:
    with serving(tmp_path, own_store, closed=True) as (server, key):
        found = run(server, key, num_examples=1, seed=7)
    assert not found.mistakes, "\n".join(found.mistakes[:10])
    assert len(found.by_operation) > 45
    assert {200, 404} <= set(found.statuses)
    assert "Traceback" not in server.log
