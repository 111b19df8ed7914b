"""Admins who take each other's role at the same moment leave one, whoever comes first."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, transaction

from inference_store.contract.errors import Refusal
from inference_store.models import AuditRecord, Membership, Role
from inference_store.services import members
from tests.making import make_project, make_user
from tests.workers import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def waiting():
    """How many wait for a lock."""
    with connection.cursor() as cursor:
        cursor.execute("select count(*) from pg_locks where not granted")
        return cursor.fetchone()[0]


def demote(by, whom):
    members.set_role(by=by, project_id="birds", user_id=whom.pk, role=Role.VIEWER)


def remove(by, whom):
    members.remove_member(by=by, project_id="birds", user_id=whom.pk)


@pytest.mark.parametrize("act", [demote, remove])
@pytest.mark.parametrize("whom", ["each other", "themselves"])
def test_one_admin_stays(act, whom):
    alice, bob = make_user("alice"), make_user("bob")
    project = make_project("birds", admin=alice)
    Membership.objects.create(user=bob, project=project, role=Role.ADMIN)
    pairs = [(alice, bob), (bob, alice)] if whom == "each other" else [(alice, alice), (bob, bob)]

    def acted(pair):
        try:
            act(*pair)
        except Refusal as refusal:
            return refusal.status
        finally:
            connection.close()
        return 200

    with ThreadPoolExecutor(2) as threads:
        with transaction.atomic():
            members.lock("birds")
            tasks = [threads.submit(acted, pair) for pair in pairs]
            # Both have been found to be admins by now, and stand at the door.
            wait_until(lambda: waiting() == 2, "both wait")
        outcomes = sorted(task.result() for task in tasks)
    # Whoever comes second is no admin any more, no member, or the last one.
    refused = {"each other": {demote: 403, remove: 404}[act], "themselves": 409}[whom]
    assert outcomes == [200, refused]
    assert len(members.acting_admins(project)) == 1
    assert AuditRecord.objects.filter(action__startswith="member.").count() == 1
