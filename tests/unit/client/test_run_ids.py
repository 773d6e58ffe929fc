"""Run ids: UUIDv7 that keep the order in which they were made."""

import uuid

from aiki.client.run_ids import RunIds
from aiki.core.ids import uuid7


def test_ids_of_one_source_grow() -> None:
    source = RunIds()
    made = [source.next() for _ in range(20_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_an_id_is_a_uuid_of_version_7() -> None:
    made = uuid.UUID(RunIds().next())
    assert made.version == 7
    assert made.variant == uuid.RFC_4122


def test_the_example_of_the_rfc() -> None:
    # RFC 9562, appendix A.6: 2022-02-22 14:22:22.00 GMT-05:00, rand_a 0xCC3, rand_b 0x18C4DC0C0C07398F
    made = uuid7(milliseconds=0x017F22E279B0, random_bits=0xCC3 << 62 | 0x18C4DC0C0C07398F)
    assert str(made) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"
