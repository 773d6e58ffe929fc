"""What opens NATS, given by flag, variable or manifest; and what a command says where it stays closed."""

from __future__ import annotations

import nats as nats_py
import pytest

from aiki import Client
from tests.servers.operator import HOUR_SECONDS, Operator


@pytest.fixture
def own(make_nats, namespace):
    """A nats-server of the test's own, and the variables that lead to it."""
    nats = make_nats()
    return nats, {"AIKI_URL": nats.url, "AIKI_NAMESPACE": namespace}


def test_a_credentials_file_is_given_in_one_form_everywhere(aiki, start_aikid, flows, own):
    nats, where = own
    operator = Operator()
    nats.restart_with(**operator.settings())
    (flows / "daemon.creds").write_text(operator.credentials(seconds=HOUR_SECONDS))
    start_aikid(nats_url=nats.url, env={"AIKI_CREDS": str(flows / "daemon.creds")})
    closed = aiki("status", env=where)
    assert closed.code == 77
    assert "refuses us: Authorization Violation" in closed.err
    assert "AIKI_CREDS" in closed.err
    (flows / "my.creds").write_text(operator.credentials(seconds=HOUR_SECONDS).replace("\n", "\r\n"))
    assert aiki("status", "--creds", "my.creds", env=where).code == 0
    assert aiki("--creds", "my.creds", "status", env={**where, "AIKI_CREDS": "none"}).code == 0
    assert aiki("status", env={**where, "AIKI_CREDS": "my.creds\n"}).code == 0
    (flows / "aiki.yaml").write_text(
        "aiki: 1\nclient: {creds: my.creds}\nprofiles: {old: {client: {creds: old.creds}}}"
    )
    (flows / "old.creds").write_text(operator.credentials(seconds=-1))
    assert aiki("status", env=where).code == 0
    expired = aiki("status", "--profile", "old", env=where)
    assert expired.code == 77
    assert f"creds is {flows / 'old.creds'}: it comes from profile old ({flows / 'aiki.yaml'}:3:" in expired.err
    assert f"(what {flows / 'old.creds'} holds expired at 20" in expired.err
    assert aiki("status", "--creds", "", env=where).code == 77, "an empty name says that there is none"


def test_a_file_that_cannot_be_read_or_used_is_named(aiki, flows):
    (flows / "notes.txt").write_text("SUSECRET")
    for flag in ("--creds", "--tls-ca"):
        missing = aiki("status", flag, "none.pem")
        assert missing.code == 66
        assert "cannot read none.pem: No such file or directory" in missing.err
        useless = aiki("status", flag, "notes.txt")
        assert useless.code == 78
        assert "notes.txt holds no " in useless.err
        assert "SUSECRET" not in useless.err


def test_an_authority_is_given_in_one_form_everywhere(aiki, start, start_aikid, flows, own, authority):
    nats, where = own
    nats.restart_with(tls=authority.sign("commands-nats").of_a_server)
    start_aikid(nats_url=nats.url, arguments=["--tls-ca", str(authority.file)])
    unknown = aiki("status", env=where)
    assert unknown.code == 77
    assert unknown.err.startswith(f"error: NATS at {nats.url} cannot be trusted: the certificate of 127.0.0.1:")
    assert "hint: export AIKI_TLS_CA=ca.pem" in unknown.err
    assert unknown.err.splitlines()[1:-1] == ["  the address comes from AIKI_URL"]
    named = ["--tls-ca", str(authority.file)]
    fleet = start("worker", "start", "-m", "flows", "--processes", "2", *named, env=where)
    fleet.wait_for_log("serves")
    done = aiki("enqueue", "hello", "--wait", "-q", env={**where, "AIKI_TLS_CA": str(authority.file)})
    assert (done.code, done.out, done.err) == (0, '"HELLO ADA"\n', "")
    with Client.blocking(nats.url, namespace=where["AIKI_NAMESPACE"], tls_ca=authority.file) as client:
        assert len(client.runs.list().runs) == 1
    (flows / "aiki.yaml").write_text("aiki: 1\nclient: {tls_ca: ca.pem}")
    (flows / "ca.pem").write_bytes(authority.file.read_bytes())
    assert aiki("status", env=where).code == 0
    assert fleet.terminate() == 0
    assert "returning true" not in fleet.logged()


def test_what_is_not_permitted_is_said(aiki, own):
    nats, _ = own
    for permissions in ({"publish": {"deny": ["aiki.>"]}}, {"subscribe": {"deny": ["_INBOX.>"]}}):
        nats.guard(permissions=permissions)
        done = aiki("status", env={"AIKI_URL": f"\ufeff {nats.url}\r\n"})
        assert done.code == 77
        assert "Permissions Violation for" in done.err
        assert "server's permissions right" in done.err


@pytest.mark.anyio
async def test_a_stream_of_somebody_else_that_takes_requests_in_harms_no_command(aiki, start, start_aikid, own):
    nats, where = own
    other = await nats_py.connect(nats.url)
    await other.jetstream().add_stream(name="EVERYTHING", subjects=["aiki.>"])
    await other.close()
    nobody = aiki("status", env=where)
    assert nobody.code == 69
    assert "no aikid has replied" in nobody.err
    assert "the stream EVERYTHING stores what is sent" in nobody.err
    daemon = start_aikid(nats_url=nats.url)
    start("worker", "start", "-m", "flows", env=where).wait_for_log("serves hello")
    done = aiki("enqueue", "hello", "--wait", env=where)
    assert (done.code, done.out) == (0, '"HELLO ADA"\n')
    assert "subjects overlap with an existing stream" in daemon.logged()


def test_an_address_may_be_a_host_or_several(aiki, environment):
    port = environment["AIKI_URL"].rpartition(":")[2]
    for url in (f"127.0.0.1:{port}", f"nats://127.0.0.1:1,127.0.0.1:{port}"):
        assert aiki("status", "--url", url).code == 0
    refused = aiki("status", "--url", f"ws://127.0.0.1:{port}")
    assert refused.code == 78
    assert "WebSocket is not spoken here" in refused.err
