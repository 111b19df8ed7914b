"""Reading the audit log at 100,000 records: each filter reads little beyond its page, by an index."""

import pytest
from django.db import connection
from django.http import QueryDict
from django.test.utils import CaptureQueriesContext

from inference_store.audit_filterset import AuditFilterSet
from inference_store.query import audit
from tests.query.test_plans import Reads

ROWS = 100_000
TABLES = ("auditrecord", "auditedinferences", "auditseal")
# Two projects of two models each; a thousand callers; nine of ten records are single posts.
RECORDS = """
    insert into inference_store_auditrecord
           (recorded_at, action, outcome, project_id, model_id, inference_id, inference_count, ids_digest,
            filter, details, actor, token, door, address, request_id)
    select timestamptz '2026-01-01' + at * interval '30 seconds',
           case when at %% 10 <> 0 then 'inference.create'
                else (array['inference.delete', 'metadata.set', 'export.create'])[1 + at / 10 %% 3] end,
           'done', 'project-' || at %% 2, 'model-' || at %% 4,
           case when at %% 1000 <> 0 then 'i-' || at end, 1, '', '', '', 'user-' || at %% 1000, '', 'api', '',
           'request-' || at
      from generate_series(1, %s) at
"""
LISTS = """
    insert into inference_store_auditedinferences (record_id, number, model_id, first_id, last_id, ids)
    select id, 1, model_id, 'i-' || id, 'i-' || id || '-9', 'i-' || id || E'\\n' || 'i-' || id || E'-9\\n'
      from inference_store_auditrecord where inference_id is null
"""
SEALS = """
    insert into inference_store_auditseal (sequence, record_id, key_id, sealed_at, seal)
    select row_number() over (order by id), id, 'key', recorded_at, 'seal' from inference_store_auditrecord
"""
WHOLE = {f"inference_store_{table}" for table in TABLES}


@pytest.fixture(scope="module")
def stocked(django_db_setup, django_db_blocker):
    with django_db_blocker.unblock():
        with connection.cursor() as cursor:
            cursor.execute("set statement_timeout = 0")
            cursor.execute(RECORDS, [ROWS])
            cursor.execute(LISTS)
            cursor.execute(SEALS)
            for table in TABLES:
                cursor.execute(f"vacuum (analyze) inference_store_{table}")
            cursor.execute("reset statement_timeout")
        yield
        with connection.cursor() as cursor:
            cursor.execute("truncate " + ", ".join(WHOLE))
        connection.close()


FILTERS = [
    ("", 50, "audit_project"),
    ("since=2026-01-20T00:00:00Z&until=2026-01-21T00:00:00Z", 50, "audit_project"),
    ("action=inference.delete", 50, "audit_action"),
    ("action=inference.create", 50, "audit_project"),
    ("actor=user-4", 50, "audit_actor"),
    ("actor=nobody", 0, "audit_actor"),
    ("model_id=model-2", 50, "audit_model"),
    ("model_id=model-2&since=2026-01-20T00:00:00Z&until=2026-01-21T00:00:00Z", 50, "audit_model"),
    ("model_id=model-2&inference_id=i-5002", 1, "audit_inference"),
    ("request_id=request-5002", 1, "audit_request"),
    ("request_id=none", 0, "audit_request"),
]


@pytest.mark.django_db
@pytest.mark.usefixtures("stocked")
@pytest.mark.parametrize(("query", "count", "index"), FILTERS)
def test_a_page_reads_little_more_than_it_shows(query, count, index):
    def ask(cursor=""):
        found = AuditFilterSet(QueryDict(query), audit.records_of("project-0")).found()
        return audit.page(found, limit=50, cursor=cursor)

    page = ask()
    cursors = ["", page.next_cursor] if page.next_cursor else [""]
    for cursor in cursors:
        with CaptureQueriesContext(connection) as asked:
            found = len(ask(cursor).audit_records)
        reads = Reads([each["sql"] for each in asked])
        assert found == count or (cursor and found)
        assert index in reads.indexes, (query, reads.indexes)
        assert not reads.scanned & WHOLE, (query, reads.scanned)
        assert reads.rows < 1_500, (query, reads.rows)


@pytest.mark.django_db
@pytest.mark.usefixtures("stocked")
def test_one_inference_among_bulks_is_found_by_an_index():
    with connection.cursor() as cursor:
        first = "select first_id from inference_store_auditedinferences where model_id = 'model-0'"
        cursor.execute(f"{first} limit 1 offset 20")
        name = cursor.fetchone()[0]
    with CaptureQueriesContext(connection) as asked:
        lists = audit.lists_with("model-0", name)
    assert len(lists) == 1
    reads = Reads([each["sql"] for each in asked])
    assert "audited_range" in reads.indexes
    assert not reads.scanned & WHOLE
