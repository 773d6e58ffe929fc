"""In which mode results are shown, and when people are talked to."""

from __future__ import annotations

from aiki_cli.view.output import Mode, Output


def test_the_mode_is_tsv_where_nobody_looks(capsys):
    assert Output.choose(None, quiet=False).mode is Mode.TSV
    assert Output.choose(Mode.JSON, quiet=False).mode is Mode.JSON
    Output(Mode.TSV, quiet=True).say("talk")
    assert capsys.readouterr().err == ""
