"""Tests that the SQL schema of the local store is installed with its package."""

from pathlib import Path

from three_pillar_demo import local_store


def test_the_schema_is_in_the_package() -> None:
    """The file schema.sql is in the folder of the package ``local_store``, which reads it."""
    assert (Path(str(local_store.__file__)).parent / "schema.sql").is_file()
