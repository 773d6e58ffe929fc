"""Where commands connect, and what they say when they cannot."""

from __future__ import annotations

import json
import time

import pytest

from tests.waiting import patient


def test_nothing_there_is_exit_code_69_within_3_seconds(aiki):
    done = aiki("status", "--url", "nats://127.0.0.1:1")
    assert (done.code, done.out) == (69, "")
    assert "nats://127.0.0.1:1" in done.err
    assert "hint: " in done.err
    assert "aiki dev" in done.err


@pytest.fixture
def without_url(environment):
    """The variables as if nobody had set the daemon's address: empty ones count as unset."""
    return {"AIKI_URL": "", "AIKI_NAMESPACE": ""}


def test_the_manifest_says_where_and_a_profile_says_it_better(aiki, environment, flows, without_url):
    (flows / "aiki.yaml").write_text(
        f"""\
aiki: 1
client: {{url: "nats://127.0.0.1:1", namespace: {environment["AIKI_NAMESPACE"]}}}
profiles:
  live: {{client: {{url: "${{LIVE_URL}}"}}}}
"""
    )
    live = {**without_url, "LIVE_URL": environment["AIKI_URL"]}
    assert aiki("status", env=without_url).code == 69
    assert aiki("status", "--profile", "live", env=live).code == 0
    assert aiki("status", env={**live, "AIKI_PROFILE": "live"}).code == 0
    assert aiki("--profile", "live", "status", env=live).code == 0
    unset = aiki("status", "--profile", "live", env=without_url)
    assert (unset.code, "LIVE_URL is not set" in unset.err) == (78, True)
    assert aiki("status", "--profile", "none", env=live).code == 78
    assert aiki("status", "--profile", "none").code == 78, "the environment says where, but not what opens it"
    assert aiki("status", "--url", "nats://127.0.0.1:2", "--profile", "live", env=live).code == 69


def test_a_wrong_manifest_is_exit_code_78_with_its_place(aiki, flows, without_url):
    (flows / "aiki.yaml").write_text("aiki: 1\nclients: {}\n")
    done = aiki("status", env=without_url)
    assert done.code == 78
    assert "aiki.yaml:2:1: unknown key `clients`" in done.err
    shown = json.loads(aiki("status", "-o", "json", env=without_url).err)
    assert shown["error"]["code"] == "config"
    assert aiki("status", "-f", "nowhere.yaml", env=without_url).code == 78


def test_a_namespace_sees_only_its_own(aiki):
    assert aiki("run", "list", "--namespace", "other", "-o", "json").json["runs"] == []
    assert aiki("run", "list", "--namespace", "no spaces").code == 78


def test_nothing_there_is_told_in_the_time_that_a_person_waits(aiki, nats):
    for url in ("nats://127.0.0.1:1", nats.url):
        began = time.monotonic()
        assert aiki("status", "--url", url).code == 69
        assert time.monotonic() - began < patient(3)
