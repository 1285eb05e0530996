"""The local stack: the documented SQL queries, and a store that is killed under load."""

import asyncio
import re
import sqlite3
from pathlib import Path

import pytest

from tests.end_to_end.conftest import FULL, Stack
from three_pillar_demo.load.checkout_client import Purchase
from three_pillar_demo.verify.exemplar_check import check_exemplars
from three_pillar_demo.verify.ledger import fill
from three_pillar_demo.verify.log_check import check_logs
from three_pillar_demo.verify.trace_check import check_traces

pytestmark = pytest.mark.skipif(FULL, reason="about the local stack: make test")


async def _ignore(_purchase: Purchase) -> None:
    pass


def test_the_documented_queries_return_rows(stack: Stack) -> None:
    """Each of the five documented SQL queries returns rows after purchases with every card."""
    queries = re.findall(
        r"```sql\n(.*?)```", Path("docs/reference/local-store.md").read_text(), re.DOTALL
    )
    assert len(queries) == 5
    ledger = asyncio.run(fill(6, 20, _ignore))

    async def is_complete() -> bool:
        async with stack.backends() as backends:
            logs, _ = await check_logs(backends, ledger)
            checks = (
                await check_traces(backends, ledger),
                logs,
                await check_exemplars(backends, ledger),
            )
            return all(check.passed for check in checks)

    assert asyncio.run(is_complete())
    file = sqlite3.connect(f"file:{stack.state}/data/store/telemetry.db?mode=ro", uri=True)
    try:
        for query in queries:
            assert file.execute(query).fetchall(), query
    finally:
        file.close()
