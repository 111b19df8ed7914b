"""Who sends wrong tokens again and again is told to stop.

Asked only once a token was found wrong: a good one costs nothing here, and works from wherever it comes,
for others may share the address of whoever sends wrong ones (docs/access.md).
"""

import ipaddress
import logging
import time
from contextlib import suppress

from django.conf import settings
from django.core.cache import cache
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

NETWORK_BITS = 64
"""Of an IPv6 address: below that one client has as many as it likes."""


def seconds_to_wait(address: str) -> int:
    """Count a wrong token from that address: after how many seconds it may send more, 0 for at once.

    Where Redis is away nobody is told to wait: what keeps tokens safe is their length.
    """
    most, window = settings.TOKEN_FAILURES, settings.TOKEN_THROTTLED_SECONDS
    if not most:
        return 0
    number, passed = divmod(time.time(), window)
    source = _source(address)
    try:
        count = _count(f"wrong-tokens:{source}:{int(number)}", window)
    except RedisError:
        return 0
    if count == most + 1:
        log.warning("More than %d wrong tokens from %s within %d s", most, source or "nowhere", window)
    return max(1, int(window - passed)) if count > most else 0


def _count(key: str, window: int) -> int:
    if cache.add(key, 1, window):
        return 1
    try:
        return int(cache.incr(key))
    except ValueError:  # it ended in between
        return 1


def _source(address: str) -> str:
    with suppress(ValueError):
        found = ipaddress.ip_address(address)
        if found.version == 6 and found.ipv4_mapped is None:
            return str(ipaddress.ip_network((found, NETWORK_BITS), strict=False))
    return address
