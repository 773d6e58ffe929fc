"""Each way a manifest can be wrong is refused with its place, what stands there, and what was expected."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiki.core.errors import ConfigError
from aiki.manifest import Manifest, parse
from aiki.manifest.overrides import Override

FULL = """\
aiki: 1                                  # format
project: shop
modules:
  myflows: [myflows.orders, myflows.reports]
path: [src]
workflows:
  process-order: {timeout: 30d, cancel_timeout: 1m}
worker: {max_concurrent_runs: 100, drain: 30s, lifespan: "myflows.app:lifespan"}
client: {url: "nats://127.0.0.1:4222", namespace: default}
profiles: {prod: {client: {url: "${AIKI_PROD_URL}"}, protected: true}}
"""


def read(text: str | bytes, folder: Path = Path("/p")) -> Manifest:
    return parse(text.encode() if isinstance(text, str) else text, folder / "aiki.yaml")


def test_a_full_manifest_is_read(tmp_path):
    (tmp_path / "src").mkdir()
    manifest = read(FULL, tmp_path)
    assert manifest.project == "shop"
    assert manifest.modules == {"myflows": ("myflows.orders", "myflows.reports")}
    assert manifest.path == ((tmp_path / "src").resolve(),)
    timeouts = {"timeout": 30 * 86_400_000_000, "cancel_timeout": 60_000_000}
    assert manifest.workflows == {"process-order": Override(timeouts)}
    assert manifest.worker.max_concurrent_runs == 100
    assert manifest.worker.drain_seconds == 30.0
    assert manifest.worker.lifespan == "myflows.app:lifespan"
    assert manifest.client.value("url", {}) == "nats://127.0.0.1:4222"
    assert manifest.client.value("namespace", {}) == "default"
    prod = manifest.profiles["prod"]
    assert (prod.name, prod.client.value("namespace", {}), prod.protected) == ("prod", None, True)
    assert prod.client.value("url", {"AIKI_PROD_URL": "nats://prod"}) == "nats://prod"


def test_files_that_open_nats_lie_beside_the_manifest_unless_told():
    text = "client: {creds: my.creds, tls_ca: '${CA:-}', tls_cert: ~/tls.crt}"
    manifest = read(f"aiki: 1\n{text}\nprofiles: {{p: {{client: {{creds: '${{CREDS}}'}}}}}}")
    client, profile = manifest.client, manifest.profiles["p"].client
    assert client.value("creds", {}) == "/p/my.creds"
    assert profile.value("creds", {"CREDS": "/run/live.creds\n"}) == "/run/live.creds"
    assert client.value("tls_ca", {}) == "", "an empty name says that there is none"
    assert client.value("tls_ca", {"CA": "ca.pem"}) == "/p/ca.pem"
    assert client.value("tls_cert", {}) == str(Path.home() / "tls.crt")
    assert client.value("tls_key", {}) is None
    with pytest.raises(ConfigError, match="CREDS is not set"):
        profile.value("creds", {})


def test_the_path_is_the_manifests_folder_unless_told(tmp_path):
    assert read("aiki: 1", tmp_path).path == (tmp_path.resolve(),)


def test_empty_sections_are_empty():
    manifest = read("aiki: 1\nmodules:\nworkflows:\nworker:\nprofiles:\nclient:\n")
    assert manifest.modules == {}
    assert manifest.client.value("url", {}) is None


@pytest.mark.parametrize("word", ["NO", "on", "yes", "1_0", "0x1f"])
def test_text_stays_text(word):
    assert read(f"aiki: 1\nproject: {word}").project == word


def test_a_byte_order_mark_is_no_part_of_the_text():
    assert read(b"\xef\xbb\xbfaiki: 1").modules == {}


BAD = [
    # (manifest, line, column, a part of the message)
    ("", 1, 1, "is empty, and expected `aiki: 1`"),
    ("[1]", 1, 1, "is a list, and expected a map"),
    ("modules: {}", 1, 1, "has no `aiki`"),
    ("aiki: 2", 1, 7, "the format `2`, and expected 1"),
    ('aiki: "1"', 1, 7, "and expected 1"),
    ("aiki: 1\nmodule: {}", 2, 1, "unknown key `module` in the manifest: did you mean `modules`?"),
    ("aiki: 1\naiki: 1", 2, 1, "the key `aiki` stands on line 1 already"),
    ("aiki: 1\nworker: {drain: 1s, drain: 2s}", 2, 21, "stands on line 2 already"),
    ("aiki: 1\nmodules: [a]", 2, 10, "a list, and expected names with their modules as a map"),
    ("aiki: 1\nmodules: {a: b}", 2, 14, "`b`, and expected a list of modules"),
    ("aiki: 1\nmodules: {a: []}", 2, 14, "an empty list, and expected at least one module"),
    ("aiki: 1\nmodules: {a: [b/c.py]}", 2, 15, "and expected a dotted module"),
    ("aiki: 1\nmodules: {a: [[b]]}", 2, 15, "a list, and expected text"),
    ("aiki: 1\nmodules: {'a b': [c]}", 2, 11, "and expected a name such as `myflows`"),
    ("aiki: 1\nproject: a b", 2, 10, "and expected a name of 1 to 64"),
    ("aiki: 1\nproject:", 2, 9, "nothing, and expected text"),
    ("aiki: 1\nproject: null", 2, 10, "`null`, and expected text"),
    ("aiki: 1\nproject: ${NAME}", 2, 10, "they are expanded only under `client:`"),
    ("aiki: 1\npath: [nowhere-at-all]", 2, 8, "is no folder"),
    ("aiki: 1\nworker: 5", 2, 9, "`5`, and expected `worker` as a map"),
    ("aiki: 1\nworker: {max_concurrent_runs: 0}", 2, 31, "a whole number of at least 1"),
    ("aiki: 1\nworker: {max_concurrent_runs: '4'}", 2, 31, "a whole number of at least 1"),
    ("aiki: 1\nworker: {max_concurrent_runs: 4.5}", 2, 31, "a whole number of at least 1"),
    ("aiki: 1\nworker: {max_concurrent_runs: 12:30}", 2, 31, "a whole number"),
    ("aiki: 1\nworker: {drain: soon}", 2, 17, 'expected a duration such as "30s"'),
    ("aiki: 1\nworker: {drain: 30}", 2, 17, "expected a duration"),
    ("aiki: 1\nworker: {lifespan: myflows.app}", 2, 20, "expected a function such as `myflows.app:lifespan`"),
    ("aiki: 1\nworker: {lifespan: 'my flows:x'}", 2, 20, "expected a function such as"),
    ("aiki: 1\nworker: {slots: 4}", 2, 10, "unknown key `slots` in `worker`"),
    ("aiki: 1\nclient: {uri: x}", 2, 10, "unknown key `uri` in `client`: did you mean `url`?"),
    ("aiki: 1\nclient: {url: '${A'}", 2, 15, "unfinished reference"),
    ("aiki: 1\nclient: {url: '${}'}", 2, 15, "unfinished reference"),
    ("aiki: 1\nclient: {creds: [a.creds]}", 2, 17, "a list, and expected text"),
    (
        "aiki: 1\nclient: {ca: ca.pem}",
        2,
        10,
        "unknown key `ca` in `client`, and expected url, namespace, creds, tls_ca",
    ),
    (
        "aiki: 1\nprofiles: {p: {worker: {}}}",
        2,
        16,
        "unknown key `worker` in a profile, and expected client or protected",
    ),
    ("aiki: 1\nprofiles: {p: {protected: yes}}", 2, 27, "`yes`, and expected true or false"),
    ("aiki: 1\nprofiles: {p: {protected: 'true'}}", 2, 27, "'true', and expected true or false"),
    ("aiki: 1\nworkflows: {w: {timeout: 30 days}}", 2, 26, "expected a duration"),
    ("aiki: 1\nworkflows: {w: {retry: {type: fixed, max_attempts: 2}}}", 2, 24, "has no `delay`"),
    (
        "aiki: 1\nworkflows: {w: {retry: {type: linear, max_attempts: 2, base_delay: 2h}}}",
        *(2, 24, "a `retry` that makes no sense: the base delay of 7200.0 s is longer than max_delay"),
    ),
    ("aiki: 1\nworkflows: {w: {retry_from: middle}}", 2, 29, "expected failure or start"),
    ("aiki: 1\nworkflows: {w: {record_arguments: all}}", 2, 35, "expected none, preview or full"),
    ("aiki: 1\nworkflows: {w: {retry: {type: often}}}", 2, 31, "expected fixed, exponential"),
    ("aiki: 1\nworkflows: {w: {retry: {max_attempts: 2}}}", 2, 24, "has no `type`"),
    ("aiki: 1\nworkflows: {w: {retry: {type: fixed, base_delay: 1s}}}", 2, 38, "unknown key `base_delay`"),
    ("aiki: 1\nworkflows: {w: {queue: q}}", 2, 17, "unknown key `queue`"),
    ("aiki: 1\nworkflows: {'w w': {}}", 2, 13, "and expected a name of 1 to 64"),
    ("aiki: 1\nx: &a 1", 2, 4, "&a is an alias or anchor"),
    ("aiki: 1\nx: *a", 2, 4, "*a is an alias or anchor"),
    ("aiki: 1\n<<: {a: 1}", 2, 1, "unknown key `<<`"),
    ("aiki: !!python/name:os.system 1", 1, 7, "and expected no tags"),
    ("aiki: !!int 1", 1, 7, "the tag 'int'"),
    ("aiki: 1\n[a]: 1", 2, 1, "a list as a key, and expected text"),
    ("aiki: 1\n---\naiki: 1", 2, 1, "not valid YAML"),
    ("aiki: {", 1, 8, "not valid YAML"),
    ("aiki: 1\n\tmodules: {}", 2, 1, "not valid YAML"),
    ("aiki: 1\nproject: \x00", 1, 1, "not valid YAML"),
    (b"aiki: 1\nproject: \xff", 2, 1, "the byte 0xff is not UTF-8"),
    (b"\xef\xbb\xbfaiki: 1\r\n\r\nproject: \xff", 3, 1, "the byte 0xff is not UTF-8"),
    ("aiki: 1".encode("utf-16"), 1, 1, "it is UTF-16, and expected UTF-8"),
    ("aiki: 1\n#" + "x" * 256 * 1024, 1, 1, "and expected at most 262,144"),
    ("x: " + "[" * 5000, 1, 35, "nested deeper than 32 levels"),
]


@pytest.mark.parametrize(("text", "line", "column", "message"), BAD, ids=[str(case[3])[:40] for case in BAD])
def test_a_wrong_manifest_is_refused_with_its_place(text, line, column, message):
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert str(caught.value).startswith(f"/p/aiki.yaml:{line}:{column}: "), caught.value
    assert message in str(caught.value)


def test_a_cron_without_quotes_is_told_to_use_them():
    with pytest.raises(ConfigError) as caught:
        read("aiki: 1\nschedules:\n  s:\n    workflow: w\n    cron: * * * * *\n")
    assert str(caught.value).startswith("/p/aiki.yaml:5:")
    assert caught.value.hint == 'cron: "* * * * *"'


def test_variables_are_expanded_only_where_they_are_used():
    manifest = read("aiki: 1\nclient: {url: '${BASE}/x', namespace: '${NS:-dev}'}\nprofiles: {p: {client: {url: u}}}")
    assert manifest.profiles["p"].client.value("url", {}) == "u"
    assert manifest.client.value("namespace", {}) == "dev"
    assert manifest.client.value("namespace", {"NS": "live"}) == "live"
    assert manifest.client.value("url", {"BASE": "nats://h"}) == "nats://h/x"
    with pytest.raises(ConfigError, match=r"^/p/aiki.yaml:2:15: the environment variable BASE is not set"):
        manifest.client.value("url", {})


def test_a_namespace_from_a_variable_is_checked():
    manifest = read("aiki: 1\nclient: {namespace: '${NS}'}")
    with pytest.raises(ConfigError, match="the namespace 'a b', and expected a name"):
        manifest.client.value("namespace", {"NS": "a b"})


def test_a_package_may_not_say_where_to_connect():
    with pytest.raises(ConfigError, match="unknown key `client`"):
        parse(b"aiki: 1\nclient: {}", Path("/p/aiki.yaml"), packaged=True)
