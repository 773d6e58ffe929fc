"""What counts as a change of sources."""

from __future__ import annotations

import os

from aiki_cli.processes.sources import Sources


def test_sources_notice_what_appears_changes_and_vanishes(tmp_path):
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / ".git").mkdir()
    package = tmp_path / "flows"
    package.mkdir()
    module = package / "orders.py"
    module.write_text("x = 1")
    sources = Sources([tmp_path])
    assert sources.changed() == []
    os.utime(module, ns=(1, 1))
    assert sources.changed() == [module]
    (tmp_path / "aiki.yaml").write_text("aiki: 1")
    (tmp_path / "data.bin").write_text("")
    (tmp_path / "__pycache__" / "x.py").write_text("")
    (tmp_path / ".git" / "y.py").write_text("")
    assert sources.changed() == [tmp_path / "aiki.yaml"]
    module.unlink()
    assert sources.changed() == [module]
    assert sources.changed() == []


def test_a_file_beside_the_folders_is_followed_too(tmp_path):
    (tmp_path / "src").mkdir()
    manifest = tmp_path / "aiki.yaml"
    manifest.write_text("aiki: 1")
    (tmp_path / "other.yaml").write_text("")
    sources = Sources([tmp_path / "src"], [manifest])
    (tmp_path / "other.yaml").write_text("x")
    assert sources.changed() == []
    os.utime(manifest, ns=(1, 1))
    assert sources.changed() == [manifest]
    manifest.unlink()
    assert sources.changed() == [manifest]
