"""What fails after a commit has failed nobody's request."""

import pytest
from django.db import OperationalError, transaction

from inference_store.models import Project
from inference_store.services.commits import after_commit
from tests.making import make_project

pytestmark = pytest.mark.django_db(transaction=True)


def lose_the_database(*given):
    raise OperationalError(f"the server closed the connection, for {given}")


def test_a_fault_is_logged_by_name_and_the_rest_is_done(caplog):
    done = []
    with transaction.atomic():
        make_project("kept")
        after_commit(lose_the_database, 1, "two")
        after_commit(done.append, "the rest")
        assert not done
    assert Project.objects.filter(project_id="kept").exists()
    assert done == ["the rest"]
    (record,) = [each for each in caplog.records if each.levelname == "ERROR"]
    assert "lose_the_database" in record.getMessage()
    assert "(1, 'two')" in str(record.exc_info[1])


def test_nothing_is_done_where_nothing_is_committed():
    done = []

    def fail():
        with transaction.atomic():
            after_commit(done.append, 1)
            lose_the_database()

    with pytest.raises(OperationalError):
        fail()
    assert not done
