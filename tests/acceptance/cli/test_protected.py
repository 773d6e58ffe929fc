"""A protected profile: whoever would change something there is asked before, and who only looks is not."""

from __future__ import annotations

import subprocess

import pytest

from tests.acceptance.cli.conftest import AIKI
from tests.acceptance.cli.streams import Stderr
from tests.waiting import patient, wait_until_sync


@pytest.fixture
def protected(flows, environment):
    """Variables by which nothing but a protected profile says where."""
    (flows / "aiki.yaml").write_text(
        "aiki: 1\nproject: shop\nprofiles:\n"
        f"  prod: {{client: {{url: '{environment['AIKI_URL']}', namespace: {environment['AIKI_NAMESPACE']}}}, "
        "protected: true}\n"
    )
    return {"AIKI_URL": "", "AIKI_NAMESPACE": "", "AIKI_PROFILE": "prod"}


def test_off_a_terminal_what_changes_something_wants_a_yes_and_what_looks_does_not(
    aiki, start, worker, environment, protected
):
    refused = aiki("enqueue", "hello", env=protected)
    assert (refused.code, refused.out) == (2, "")
    where = f"at {environment['AIKI_URL']}, namespace {environment['AIKI_NAMESPACE']}"
    assert f"error: profile prod is protected: this would enqueue runs {where}, and nobody has agreed" in refused.err
    assert "hint: the same again with --yes" in refused.err
    assert aiki("apply", env=protected).code == 2
    assert aiki("apply", "--dry-run", env=protected).code == 0
    assert aiki("status", env=protected).code == 0
    done = aiki("enqueue", "hello", "--wait", "--yes", env=protected)
    assert (done.code, done.out) == (0, '"HELLO ADA"\n')
    assert aiki("worker", "start", "-m", "flows", env=protected).code == 2
    fleet = start("worker", "start", "-m", "flows", "--processes", "2", "--yes", env=protected)
    alone = start("worker", "start", "-m", "flows", "--yes", env={**protected, "PYTHONHASHSEED": "random"})
    for program in (fleet, alone):
        program.wait_for_log("serves")


@pytest.mark.parametrize(("typed", "code"), [("no", 2), ("y", 0)])
def test_a_person_at_a_terminal_is_asked(environment, flows, protected, worker, typed, code):
    person = Stderr("terminal")
    process = subprocess.Popen(
        [*AIKI, "enqueue", "hello"],
        stdin=person.descriptor,
        stdout=subprocess.PIPE,
        stderr=person.descriptor,
        env={**environment, **protected},
        cwd=flows,
    )
    try:
        wait_until_sync(lambda: "profile prod is protected: this would enqueue runs" in person.read(), 60)
        person.type(f"{typed}\n")
        out, _ = process.communicate(timeout=patient(60))
    finally:
        process.kill()
        process.wait()
        person.close()
    assert (process.returncode, bool(out)) == (code, code == 0)
