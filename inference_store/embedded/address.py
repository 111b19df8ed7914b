"""The address that the web server listens on, tried before and after it starts."""

import errno
import http.client
import socket

from inference_store.embedded import home


def refuse_in_use(host: str, port: int) -> None:
    """Refuse, with a way out, what the web server could not listen on."""
    if not 0 < port < 2**16:
        raise home.UnusableError(f"There is no port {port}: choose one from 1 to 65535.")
    another = "choose another: make up PORT=8001, or manage.py up --port 8001"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            message = f"Port {port} on {host} is in use by another program; {another}."
        elif error.errno == errno.EACCES:
            message = f"Port {port} needs root's rights; {another}."
        else:
            message = f"Can't listen on {host}, port {port}: {error}."
        raise home.UnusableError(message) from error


def answers(host: str, port: int, path: str, host_header: str) -> bool:
    """Whether the web server answers with 200."""
    connection = http.client.HTTPConnection(_dialled(host), port, timeout=5)
    try:
        connection.request("GET", path, headers={"Host": host_header})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def url(host: str, port: int) -> str:
    """What a person on this machine types."""
    return f"http://{bracketed(_dialled(host))}:{port}"


def bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _dialled(host: str) -> str:
    """Whoever listens everywhere also listens on loopback."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104 # nosec B104
