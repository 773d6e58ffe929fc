"""Where settings come from, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from aiki.core.errors import ConfigError
from aiki.core.keyfiles import KeyFiles
from aiki.core.retention import words
from aikid.config import OPTIONS, Settings, load

DATABASE = "postgresql://aiki@db/aiki"
GIVEN = {"AIKI_DATABASE_URL": DATABASE}


def refusal(flags: Mapping[str, object] | None = None, environ: Mapping[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(flags or {}, environ if environ is not None else GIVEN)
    return str(caught.value)


def write(folder: Path, text: str) -> str:
    file = folder / "aikid.toml"
    file.write_text(text)
    file.chmod(0o600)
    return str(file)


def test_a_database_alone_is_enough() -> None:
    loaded = load({}, GIVEN)
    assert loaded.settings == Settings(database_url=DATABASE, nats_url="nats://127.0.0.1:4222")
    assert loaded.origins == {"database_url": "AIKI_DATABASE_URL"}


def test_embedded_alone_is_enough() -> None:
    settings = load({"embedded": True}, {}).settings
    assert (settings.embedded, settings.data_dir, settings.nats_port) == (True, Path(".aiki"), 4222)


def test_flags_win_over_variables_and_those_over_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, 'pool_size = 3\nlog_level = "debug"\nstart_timeout = "2m"\n')
    loaded = load({"config": file, "pool_size": "5"}, {**GIVEN, "AIKI_LOG_LEVEL": "error", "AIKI_POOL_SIZE": "4"})
    settings = loaded.settings
    assert (settings.pool_size, settings.log_level, settings.start_timeout_seconds) == (5, "error", 120.0)
    assert loaded.origins["pool_size"] == "--pool-size"
    assert loaded.origins["log_level"] == "AIKI_LOG_LEVEL"
    assert loaded.origins["start_timeout"] == f"{file}: start_timeout"


def test_the_file_can_be_named_by_a_variable(tmp_path: Path) -> None:
    file = write(tmp_path, f'database_url = "{DATABASE}"\nmigrate = false\n')
    settings = load({}, {"AIKI_CONFIG": file}).settings
    assert (settings.database_url, settings.migrate) == (DATABASE, False)


def test_a_flag_can_turn_off_what_a_variable_turned_on() -> None:
    assert load({"migrate": True}, {**GIVEN, "AIKI_MIGRATE": "off"}).settings.migrate
    assert not load({"embedded": False}, {**GIVEN, "AIKI_EMBEDDED": "1"}).settings.embedded


def test_an_empty_variable_is_as_good_as_none() -> None:
    assert load({}, {**GIVEN, "AIKI_POOL_SIZE": ""}).settings.pool_size == 6


@pytest.mark.parametrize("hosts", ["one,two:5433", "[::1]:5432,10.0.0.1", "aiki:geheim%40@one:5432,two"])
def test_a_database_may_have_several_hosts(hosts: str) -> None:
    url = f"postgresql://{hosts}/aiki?target_session_attrs=read-write"
    assert load({}, {"AIKI_DATABASE_URL": url}).settings.database_url == url


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_a_socket_folder_is_a_host_too(scheme: str) -> None:
    url = f"{scheme}://aiki@/postgres?host=%2Frun%2Fpostgresql"
    assert load({}, {"AIKI_DATABASE_URL": url}).settings.database_url == url


@pytest.mark.parametrize("around", [" {} ", "{}\n", "\t{}\r\n", "\ufeff{}\r\n"])
def test_what_editors_put_around_a_value_is_no_part_of_it(tmp_path: Path, around: str) -> None:
    file = tmp_path / "a url"
    file.write_bytes(around.format(DATABASE).encode())
    toml = write(tmp_path, "\ufeffpool_size = 3\r\n")
    for environ in ({"AIKI_DATABASE_URL": around.format(DATABASE)}, {"AIKI_DATABASE_URL_FILE": str(file)}):
        settings = load({"config": toml}, {**environ, "AIKI_LOG_LEVEL": around.format("debug")}).settings
        assert (settings.database_url, settings.log_level, settings.pool_size) == (DATABASE, "debug", 3)


def test_a_variable_of_white_space_is_as_good_as_none() -> None:
    assert load({}, {**GIVEN, "AIKI_NATS_URL": " \n"}).settings.nats_url == "nats://127.0.0.1:4222"


@pytest.mark.parametrize("urls", ["nats://a:4222,tls://b:4222", "127.0.0.1:4222", "nats://user:s3cret%40@a,b:4223"])
def test_nats_may_be_a_cluster(urls: str) -> None:
    assert load({}, {**GIVEN, "AIKI_NATS_URL": f"\ufeff{urls}\r\n"}).settings.nats_url == urls


def test_keys_in_place_of_a_files_name_are_not_repeated() -> None:
    told = refusal(environ={**GIVEN, "AIKI_CREDS": "-----BEGIN NATS USER JWT-----\neyS3cret"})
    assert told.startswith("creds: it is given the keys themselves")
    assert "eyS3cret" not in told


def test_the_files_that_open_nats_have_the_names_that_clients_give_them(tmp_path: Path) -> None:
    file = write(tmp_path, 'creds = "~/a.creds"\ntls_ca = "of-file.pem"')
    variables = {**GIVEN, "AIKI_TLS_CA": "ca.pem\n", "AIKI_TLS_CERT": "tls.crt", "AIKI_CONFIG": file}
    keys = load({"tls_key": "tls.key"}, variables).settings.keys
    assert keys == KeyFiles(Path.home() / "a.creds", Path("ca.pem"), Path("tls.crt"), Path("tls.key"))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (
            "AIKI_RETENTION",
            "completed=30",
            'periods, such as "30d" or "completed=30d,failed=90d" (\'30\' is not a duration',
        ),
        ("AIKI_RETENTION", "done=30d", "runs do not end as 'done'"),
        ("AIKI_RETENTION", "5s", "less than a minute"),
        ("AIKI_KEY_RETENTION", "-1d", "a duration from 0 s"),
        ("AIKI_DATABASE_URL", "mysql://db/aiki", "postgresql://"),
        ("AIKI_DATABASE_URL", "db/aiki", "postgresql://"),
        ("AIKI_DATABASE_URL", "postgresql://db:http/aiki", "a URL such as"),
        ("AIKI_DATABASE_URL", "postgresql://aiki:s3@cret@db/aiki", "write %40 for @"),
        ("AIKI_DATABASE_URL", "postgresql://aiki:1/cret@db/aiki", "write %40 for @, %2F for /"),
        ("AIKI_DATABASE_URL", "postgresql://aiki:s3#cret@db/aiki", "%23 for #"),
        ("AIKI_DATABASE_URL", "postgresql://[aiki:s3cret@db/aiki", "a URL such as"),
        ("AIKI_DATABASE_URL", "postgresql://aiki:s3cret@[db/aiki", "a URL such as"),
        ("AIKI_DATABASE_URL", "postgresql://aiki:s3?cret=1@db/aiki", "write %40 for @, %2F for /, %3F for ?"),
        ("AIKI_DATABASE_URL", "jdbc:postgresql://db/aiki", "it begins with postgresql://"),
        ("AIKI_DATABASE_URL", '"postgresql://db/aiki"', "it begins with postgresql://"),
        ("AIKI_DATABASE_URL", "postgresql://db/aiki?pgbouncer=true", "'pgbouncer' is none: leave it out"),
        ("AIKI_DATABASE_URL", "postgresql://db/aiki?sslmod=require", "did you mean sslmode?"),
        ("AIKI_DATABASE_URL", "postgresql+asyncpg://db/aiki?ssl=require", "'ssl' is none"),
        ("AIKI_DATABASE_URL", "host=db pooling=on", "'pooling' is none"),
        (
            "AIKI_DATABASE_URL",
            "postgresql://db/aiki?connect_timeout=5s",
            "a whole number of up to 9 digits for connect_timeout",
        ),
        ("AIKI_DATABASE_URL", "postgresql://db/aiki?port=0", "a port from 1 to 65535"),
        ("AIKI_NATS_URL", "nats://aiki:1/cret@a", "%2F for /"),
        ("AIKI_DATABASE_URL", "postgresql://one:5432,two:http/aiki", "a URL such as"),
        ("AIKI_DATABASE_URL", "postgresql://one:5432,/aiki", "has no name"),
        ("AIKI_NATS_URL", "aiki:s3cret@127.0.0.1:4222", "it begins with nats:// or tls://"),
        ("AIKI_NATS_URL", "nats://a:4222,ws://b:80", "WebSocket is not spoken here"),
        ("AIKI_NATS_URL", "nats://a:99999", "a URL such as"),
        ("AIKI_POOL_SIZE", "0", "a whole number from 1 to 100, got '0'"),
        ("AIKI_POOL_SIZE", "six", "a whole number from 1 to 100, got 'six'"),
        ("AIKI_POOL_SIZE", "1e3", "a whole number"),
        ("AIKI_EMBEDDED", "perhaps", "true or false, got 'perhaps'"),
        ("AIKI_NATS_PORT", "65536", "from 0 to 65535"),
        ("AIKI_START_TIMEOUT", "30", 'such as "30s"'),
        ("AIKI_START_TIMEOUT", "3d", "a duration from 0 s to 3600 s"),
        ("AIKI_LOG_LEVEL", "loud", "one of debug, info, warning, error, got 'loud'"),
    ],
)
def test_nonsense_in_a_variable_is_refused(name: str, value: str, expected: str) -> None:
    told = refusal(environ={**GIVEN, name: value})
    assert told.startswith(f"{name}: expected ")
    assert expected in told


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('pool_size = "6x"', "pool_size: expected a whole number from 1 to 100, got '6x'"),
        ("pool_size = true", "pool_size: expected a whole number"),
        ("pool_size = 6.0", "pool_size: expected a whole number"),
        ("start_timeout = 30", "start_timeout: expected a duration"),
        ("log_level = 3", "log_level: expected one of"),
        ("embedded = 1", "embedded: expected true or false, got 1"),
        ("data_dir = []", "data_dir: expected text"),
        ("poolsize = 6", "unknown key 'poolsize': did you mean 'pool_size'?"),
        ("[server]\nport = 1", "unknown key 'server': expected one of database_url, nats_url"),
        ("pool_size = ", "not TOML"),
        ("pool_size = 1\npool_size = 2", "not TOML"),
    ],
)
def test_nonsense_in_the_file_is_refused_and_the_file_named(tmp_path: Path, text: str, expected: str) -> None:
    file = write(tmp_path, text)
    told = refusal({"config": file})
    assert told.startswith(file)
    assert expected in told


def test_the_file_may_come_from_windows_and_a_wrong_byte_is_named_by_its_line(tmp_path: Path) -> None:
    file = tmp_path / "aikid.toml"
    file.write_bytes(b"\xef\xbb\xbfpool_size = 7\r\nlog_level = 'debug'\r\n")
    assert load({"config": str(file)}, GIVEN).settings.pool_size == 7
    file.write_bytes(b"pool_size = 7\r\nlog_level = '\xe4'\r\n")
    assert f"{file}, line 2: the byte 0xe4 is not UTF-8" in refusal({"config": str(file)})
    file.write_bytes("pool_size = 7".encode("utf-16"))
    assert "line 1: it is UTF-16, and expected UTF-8" in refusal({"config": str(file)})


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "cannot read the configuration file" in refusal({"config": str(tmp_path / "none.toml")})


def test_a_slip_in_a_variable_is_refused_and_a_strangers_variable_is_not() -> None:
    assert "did you mean AIKI_POOL_SIZE?" in refusal(environ={**GIVEN, "AIKI_POOLSIZE": "3"})
    load({}, {**GIVEN, "AIKI_URL": "nats://a", "AIKI_NAMESPACE": "shop", "AIKI_PG_BIN": "/x", "AIKI_PROFILE": "prod"})


def test_without_a_database_the_way_out_is_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        load({}, {})
    assert caught.value.hint is not None
    assert "aikid --embedded" in caught.value.hint


def test_embedded_and_a_server_of_your_own_contradict_each_other() -> None:
    assert "AIKI_DATABASE_URL is for a server elsewhere, and --embedded" in refusal({"embedded": True})
    assert "AIKI_CREDS is for" in refusal({"embedded": True}, {"AIKI_CREDS": "a.creds"})
    assert "AIKI_NATS_URL is for" in refusal({"embedded": True}, {"AIKI_NATS_URL": "nats://a"})


@pytest.mark.parametrize(
    ("option", "url"),
    [
        ("database_url", "postgresql://aiki:s3cret@db/aiki"),
        ("database_url", "postgresql://db/aiki?user=a&password=s3cret"),
        ("nats_url", "nats://user:s3cret@a"),
        ("nats_url", "nats://s3cret@a"),
        ("nats_url", "nats://[user:s3cret@a"),
        ("database_url", "host=db password='s3cret'"),
    ],
)
def test_a_secret_in_a_flag_is_refused_and_not_repeated(option: str, url: str) -> None:
    told = refusal({option: url})
    assert "every user of this machine" in told
    assert "s3cret" not in told


def test_a_bad_url_is_refused_without_repeating_its_password() -> None:
    assert "s3cret" not in refusal(environ={"AIKI_DATABASE_URL": "mysql://aiki:s3cret@db/aiki"})


def test_a_secret_can_come_from_a_file_of_its_own(tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text("postgresql://aiki:s3cret@db/aiki\n")
    secret.chmod(0o600)
    loaded = load({}, {"AIKI_DATABASE_URL_FILE": str(secret)})
    assert loaded.settings.database_url == "postgresql://aiki:s3cret@db/aiki"
    assert loaded.warnings == ()
    secret.chmod(0o644)
    (warning,) = load({}, {"AIKI_DATABASE_URL_FILE": str(secret)}).warnings
    assert f"chmod 600 {secret}" in warning


def test_a_password_in_a_readable_configuration_is_warned_of(tmp_path: Path) -> None:
    file = write(tmp_path, 'database_url = "postgresql://aiki:s3cret@db/aiki"')
    assert load({"config": file}, {}).warnings == ()
    Path(file).chmod(0o644)
    assert len(load({"config": file}, {}).warnings) == 1


def test_settings_do_not_show_their_urls() -> None:
    settings = load({}, {"AIKI_DATABASE_URL": "postgresql://aiki:s3cret@db/aiki"}).settings
    assert "s3cret" not in repr(settings)


def test_every_option_is_a_field_of_the_settings() -> None:
    assert {option.field or option.name for option in OPTIONS} == set(Settings.__dataclass_fields__)


def test_ended_runs_are_kept_by_default_and_their_keys_for_a_month_after_them(tmp_path: Path) -> None:
    settings = load({}, GIVEN).settings
    assert (words(settings.retention), settings.key_retention_seconds) == ("keep", 30 * 86_400)
    file = write(tmp_path, 'retention = "90d"\nkey_retention = "0s"')
    settings = load({"retention": "completed=30d"}, {**GIVEN, "AIKI_CONFIG": file}).settings
    assert (words(settings.retention), settings.key_retention_seconds) == ("completed=30d", 0)
