"""A headless browser, one for a module, and a service for it to talk to, for each test anew."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Error, Page, sync_playwright
from tools import need

from tractor_websocket import browser_module

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
HERE = Path(__file__).parent
EXAMPLES = HERE.parent.parent / "examples"

#: Milliseconds after which something that should have happened has failed to.
PATIENCE = 15_000


@pytest.fixture(scope="module")
def started_browser() -> Iterator[Browser]:
    """Outlives the tests, so it knows nothing of where the tested programs are, of which nothing may stay."""
    chromium = need("chromium", package="chromium")
    session = Path(os.environ["HOME"]).parent
    with tempfile.TemporaryDirectory(prefix="tc-browser-", dir=session.parent) as own, ExitStack() as stack:
        with pytest.MonkeyPatch.context() as starting:
            for name, value in os.environ.items():
                if value.startswith(f"{session}/"):
                    starting.setenv(name, own)
            playwright = stack.enter_context(sync_playwright())
            browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        with browser:
            yield browser


@pytest.fixture
def browser(started_browser: Browser) -> Iterator[Browser]:
    """Knows nothing of the tests before: what a page keeps, it keeps in a context of its own."""
    yield started_browser
    for context in started_browser.contexts:
        context.close()


class Files(SimpleHTTPRequestHandler):
    """An empty page and the modules that it imports."""

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        if name == "":
            self._answer("text/html", b"<!doctype html><link rel=icon href=data:,><title>test</title>")
        else:
            path = browser_module() if name == "tractor.js" else HERE / name
            self._answer("text/javascript", path.read_bytes())

    def _answer(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[int]:
    """The port of a web server on this host: http://127.0.0.1 and http://localhost are two origins there."""
    with HTTPServer(("127.0.0.1", 0), Files) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture
def open_page(browser: Browser, site: int) -> Callable[..., Page]:
    """Opens an empty page, which can import ``/tractor.js`` and ``/scenarios.js``."""

    def open_page(host: str = "127.0.0.1") -> Page:
        page = browser.new_context().new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(f"http://{host}:{site}/")
        return page

    return open_page


class Program:
    """A service in a process of its own. The first line that it prints says where it is."""

    def __init__(self, *command: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.PIPE, text=True, cwd=HERE, env=_environment()
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        assert self.url, f"{command} ended with {self._process.wait()}"

    def kill(self) -> None:
        self._process.kill()
        self._gone()

    def end(self) -> None:
        if self._process.returncode is None:
            self._process.terminate()
            self._gone()

    def _gone(self) -> None:
        self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (HERE, EXAMPLES)))}


@pytest.fixture
def start() -> Iterator[Callable[..., Program]]:
    """Starts programs, and ends them with the test."""
    programs: list[Program] = []

    def start(*command: str) -> Program:
        programs.append(Program(*command))
        return programs[-1]

    yield start
    for program in programs:
        program.end()


@pytest.fixture
def service(start: Callable[..., Program], site: int) -> Program:
    """The service of ``browser_endpoints.py``, open to pages from 127.0.0.1."""
    return start("browser_endpoints.py", f"http://127.0.0.1:{site}", "0")


@pytest.fixture
def play(open_page: Callable[..., Page], service: Program) -> Callable[..., Any]:
    """Runs a function of ``scenarios.js``, which is given a connection, in a page; what it returns."""
    page = open_page()
    page_errors: list[Error] = []
    page.on("pageerror", lambda error: page_errors.append(error))

    def play(name: str, *arguments: Any) -> Any:
        result = page.evaluate(
            "([name, url, args]) => import('/scenarios.js').then((it) => it.run(name, url, args))",
            [name, service.url, list(arguments)],
        )
        assert page_errors == []
        return result

    return play
