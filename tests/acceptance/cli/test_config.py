"""Where commands connect, and that `aiki config` says who says so: a user's own profiles, and homes that are none."""

from __future__ import annotations

import os

import pytest

MANIFEST = """\
aiki: 1
client: {namespace: shop}
profiles:
  prod: {client: {url: "nats://me:${PASSWORD}@prod:4222", namespace: live}}
"""
SETTINGS = """\
aiki: 1
profile: lab
profiles:
  lab: {client: {url: "nats://lab:4222", creds: lab.creds}}
  prod: {protected: true}
"""

_PROD = ("config", "show", "--origin", "--profile", "prod")


@pytest.fixture
def home(flows):
    """Variables of a user who has settings, in a project that has a manifest; nothing else says where."""
    (flows / "aiki.yaml").write_text(MANIFEST)
    folder = flows / "config" / "aiki"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(SETTINGS)
    for one in (flows, folder):
        one.chmod(0o755)
    return {"AIKI_URL": "", "AIKI_NAMESPACE": "", "XDG_CONFIG_HOME": str(flows / "config")}


def test_each_value_is_shown_with_the_place_that_says_it_and_without_its_secrets(aiki, flows, home):
    mine, ours = flows / "config" / "aiki" / "config.yaml", flows / "aiki.yaml"
    assert aiki("config", "show", env=home).lines[:4] == [
        "url\tnats://lab:4222",
        "namespace\tshop",
        "profile\tlab",
        "protected\tfalse",
    ]
    origins = {line.split("\t")[0]: line.split("\t")[2] for line in aiki("config", "show", "--origin", env=home).lines}
    assert origins["url"] == f"default profile lab ({mine}:4:23)"
    assert origins["namespace"] == f"{ours}:2:21"
    assert origins["profile"] == f"the default of {mine}"
    assert origins["manifest"] == "the working directory, or above it"
    assert origins["user_config"] == "the user's own folder"
    assert "    from profile prod (" in aiki(*_PROD, "-o", "table", env={**home, "PASSWORD": "s3cr3t"}).out
    chosen = aiki(*_PROD, "-o", "json", env={**home, "PASSWORD": "s3cr3t"})
    told = {one["name"]: (one["value"], one["source"], one["origin"]) for one in chosen.json["values"]}
    assert told["url"] == ("nats://me:***@prod:4222", "profile", f"profile prod ({ours}:4:24)")
    assert told["protected"] == (True, "profile", f"profile prod ({mine}:5:9)"), "the user's protects the project's"
    assert told["creds"] == (None, "default", "the default")
    listed = aiki("config", "profiles", "-o", "json", env=home).json["profiles"]
    assert [(one["name"], one["url"], one["is_used"], one["file"]) for one in listed] == [
        ("prod", "nats://me:***@prod:4222", False, str(ours)),
        ("lab", "nats://lab:4222", True, str(mine)),
    ]
    assert aiki("config", "profiles", "-o", "ids", env=home).lines == ["prod", "lab"]


def test_settings_that_are_wrong_or_that_others_may_write_are_exit_code_78(aiki, flows, home):
    file = flows / "config" / "aiki" / "config.yaml"
    file.write_text("aiki: 1\nprofile: nowhere\n")
    wrong = aiki("status", env=home)
    assert (wrong.code, f"{file}:2:10: `nowhere`, and expected a profile of this file" in wrong.err) == (78, True)
    file.chmod(0o666)
    written = aiki("status", env=home)
    assert (written.code, "was found and is not obeyed: it can be written by everybody" in written.err) == (78, True)
    assert f"hint: if you trust it, name it: export AIKI_USER_CONFIG={file}" in written.err


def test_without_a_home_or_in_a_foreign_one_all_works_without_settings(aiki, flows, home, worker):
    (flows / "aiki.yaml").unlink()
    closed = flows / "closed"
    closed.mkdir(mode=0o500)
    homes = [
        {"HOME": "", "XDG_CONFIG_HOME": "", "XDG_STATE_HOME": os.devnull},
        {"HOME": "/nonexistent", "XDG_CONFIG_HOME": "/nonexistent/x", "XDG_STATE_HOME": os.devnull},
        {"HOME": str(closed), "XDG_CONFIG_HOME": str(closed), "XDG_STATE_HOME": str(closed)},
    ]
    for variables in homes:
        done = aiki("enqueue", "hello", "--wait", "-q", env=variables)
        assert (done.code, done.out, done.err) == (0, '"HELLO ADA"\n', ""), variables
    if os.geteuid() == 0:
        os.chown(flows / "config" / "aiki" / "config.yaml", 12345, 12345)
        assert aiki("config", "show", env=home).lines[0] == "url\tnats://127.0.0.1:4222"
        unknown = aiki("status", "--profile", "lab", env=home)
        assert (unknown.code, "no file has profiles" in unknown.err) == (78, True)
