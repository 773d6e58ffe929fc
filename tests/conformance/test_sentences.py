"""Each sentence by which runs live is shown by a scenario, or by a test that is named."""

from __future__ import annotations

from pathlib import Path

from tests.conformance.sentences import ELSEWHERE, SHOWN
from tests.conformance.stage import SCENARIOS
from tests.conformance.test_scenarios import played as _  # noqa: F401 - with it come the scenarios


def test_each_sentence_has_a_scenario() -> None:
    shown = {name for scenario in SCENARIOS for name in scenario.shows}
    assert shown == set(SHOWN)


def test_what_no_scenario_shows_has_a_test() -> None:
    tests = Path(__file__).parent.parent
    assert [test for test in ELSEWHERE.values() if not (tests / test).exists()] == []


def test_each_scenario_has_a_name_of_its_own() -> None:
    names = [scenario.name for scenario in SCENARIOS]
    assert len(names) == len(set(names))
