"""What one command runs: the embedded servers, the web server, worker and scheduler, at first the demo."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from inference_store.embedded import address, home, process
from inference_store.embedded.postgres import Postgres
from inference_store.embedded.redis import Redis
from inference_store.embedded.supervisor import Program, Supervisor, only_one

ANSWER_SECONDS = 120
IDLE_SECONDS = 5.0
STOP_ORDER = ("web", "beat", "worker", Redis.name, Postgres.name)
WORKER_STOP_SECONDS = 10  # a job that is cut off is taken up again at the next start


class Store:
    """The whole store on one machine, in the foreground."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        public_url: str,
        host_header: str,
        prepare: Callable[[], None],
        demo: bool,
        say: Callable[[str], None],
    ) -> None:
        self.host, self.port = host, port
        self.url = public_url or address.url(host, port)
        self.host_header = host_header
        self.prepare = prepare
        self.demo = demo
        self.say = say
        self.supervisor = Supervisor(say)
        self.environment = os.environ | {
            "INFERENCE_STORE_HOME": str(home.directory()),
            "PYTHONUNBUFFERED": "1",  # what the demo and the logs say is seen when it is said
        }

    def run(self) -> None:
        """Run until a signal says stop."""
        with only_one(self.url), self.supervisor.signals():
            address.refuse_in_use(self.host, self.port)
            try:
                with self.supervisor.interruptible():
                    self._start()
                self._serve()
            except KeyboardInterrupt:
                pass
            finally:
                self.say("Stopping")
                self.supervisor.stop(STOP_ORDER)
                self.say("Stopped")

    def _start(self) -> None:
        self.say(f"Starting, with data in {home.directory()}")
        if not os.environ.get("DATABASE_URL"):
            postgres = Postgres()
            if not postgres.directory.is_relative_to(home.directory()):
                self.say(f"The database lies in {postgres.directory}, where PostgreSQL may go without root")
            self.supervisor.start(postgres)
        if not os.environ.get("REDIS_URL"):
            self.supervisor.start(Redis())
        self.prepare()

    def _serve(self) -> None:
        # The web server first and alone: it answers sooner when the others don't load at the same time.
        self._keep("web", _web(self.host, self.port), 10, on_parent_death=signal.SIGQUIT)
        if not self._answered():
            return
        self._keep("worker", _worker(), WORKER_STOP_SECONDS, on_parent_death=signal.SIGQUIT)
        # The scheduler ignores gentler signals while it looks for a broker that has gone, too.
        self._keep("beat", _beat(), 5, on_parent_death=signal.SIGKILL)
        self.say(f"Ready: {self.url}   (Ctrl-C stops it)")
        if self.demo:
            self._run_demo()
        while not self.supervisor.stopping:
            self.supervisor.turn(IDLE_SECONDS)

    def _keep(
        self, name: str, command: list[str], stop_seconds: float, on_parent_death: signal.Signals
    ) -> None:
        """Start one of our own processes. By SIGQUIT gunicorn and Celery end at once, with all theirs."""
        # A few arenas for many threads: freed bulk requests return to the next one, not to each thread.
        environment = {"MALLOC_ARENA_MAX": "2"} | self.environment
        self.supervisor.start(Program(name, command, environment, stop_seconds, on_parent_death))

    def _answered(self) -> bool:
        """Wait for the web server's first answer; False when a signal came before."""
        end = time.monotonic() + ANSWER_SECONDS
        while not self.supervisor.stopping:
            if address.answers(self.host, self.port, "/healthz", self.host_header):
                return True
            if time.monotonic() > end:
                log = home.logs() / "web.log"
                raise process.DiedError(
                    f"The web server does not answer. The end of {log}:\n{process.last_lines(log)}"
                )
            self.supervisor.turn(0.05)
        return False

    def _run_demo(self) -> None:
        """Fill a new store with real inferences, once; a failure is tried again at the next start."""
        done, token = home.directory() / "demo_done", home.first_token()
        if done.exists() or not token.exists():
            return
        access = {"INFERENCE_STORE_URL": self.url, "INFERENCE_STORE_TOKEN": token.read_text().strip()}
        running = subprocess.Popen(  # noqa: S603
            _python("manage.py", "demo"),
            stdin=subprocess.DEVNULL,
            env=self.environment | access,
            cwd=home.CHECKOUT,
            start_new_session=True,
            preexec_fn=process.follow_parent(signal.SIGTERM),
        )  # nosec B603
        try:
            while running.poll() is None and not self.supervisor.stopping:
                self.supervisor.turn(IDLE_SECONDS)
        finally:
            process.stop(running, signal.SIGTERM, 5)
        if running.returncode == 0:
            done.touch()
            token.unlink()
            self.say(f"Demo data are in: {self.url}   (Ctrl-C stops the store)")
        elif not self.supervisor.stopping:
            self.say("The demo failed; the store runs on, and the next start tries the demo again")


def _web(host: str, port: int) -> list[str]:
    memory = Path("/dev/shm")  # noqa: S108  (heartbeats of workers should not wait for a disk) # nosec B108
    return _python(
        *("-m", "gunicorn", "inference_store.wsgi", "--bind", f"{address.bracketed(host)}:{port}"),
        *("--workers", "2", "--worker-class", "gthread", "--threads", "8", "--timeout", "120"),
        *("--graceful-timeout", "8", "--keep-alive", "5", "--log-level", "warning", "--no-control-socket"),
        *("--logger-class", "inference_store.logs.Gunicorn"),
        # A filter travels in the query string: let it be as long as the server allows.
        *(
            "--limit-request-line",
            "8190",
            "--limit-request-fields",
            "64",
            "--limit-request-field_size",
            "8190",
        ),
        *(("--worker-tmp-dir", str(memory)) if os.access(memory, os.W_OK) else ()),
    )


def _worker() -> list[str]:
    # One worker has nobody to greet or to gossip with.
    alone = ("--without-mingle", "--without-gossip", "--without-heartbeat")
    return _celery("worker", "--concurrency", "1", *alone)


def _beat() -> list[str]:
    return _celery("beat", "--schedule", str(home.directory() / "beat-schedule"), "--pidfile=")


def _celery(command: str, *arguments: str) -> list[str]:
    return _python("-m", "celery", "-A", "inference_store.celery", command, "-l", "warning", *arguments)


def _python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]
