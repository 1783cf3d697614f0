"""A served explorer and a browser, for all tests of this folder that ask for them."""

import json
import os
import shutil
import struct
import subprocess
import sys
import time
import urllib.request
import zlib
from urllib.parse import urlsplit

import pytest

from tests.interfaces.explorer.browsing import Site

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def filled_store(folder):
    """Write a few runs and a figure of them, so that the page Runs has something to show."""
    from markov_icl.experiments.runs.points import Point, parquet
    from markov_icl.experiments.runs.spec import Spec, code_of
    from markov_icl.experiments.runs.store import Store
    from markov_icl.tasks.prompts import MarkovTask

    store, keys = Store(folder), []
    for seed in range(3):
        spec = Spec("train", "depth=1", MarkovTask(length=3), {"kind": "lsa"}, {"steps": 3}, {"prompts": 7}, seed)
        rows = tuple(Point("model", "loss", float(step), 0.5 / (1 + step) + 0.01 * seed, 0.01) for step in range(4))
        keys.append(store.write(spec, code_of("runs.sweep"), rows, 0.5))
    finding = {"runs": keys, "verdict": "holds", "computed": "The loss falls.", "tolerance": "exact"}
    files = {"figure.png": white(4, 2), "rows.parquet": parquet(rows), "finding.json": json.dumps(finding).encode()}
    store.publish("fig4-quick-3", files)
    return folder


def white(width, height):
    """Return a white PNG picture."""
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress((b"\0" + b"\xff" * width) * height)),
        (b"IEND", b""),
    ]
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """Return the address of a served explorer, and when it said that it was up."""
    store = filled_store(tmp_path_factory.mktemp("runs") / "store")
    command = [sys.executable, "-m", "markov_icl", "explore", "--port", "0", "--no-browser", "--store", str(store)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as server:
        try:
            line = server.stdout.readline()
            assert line.startswith("explorer: http://127.0.0.1:"), line + server.stdout.read()
            site = Site(line.split()[1].rstrip("/"), time.monotonic())
            with urllib.request.urlopen(site.address) as page:
                assert page.status == 200
            yield site
        finally:
            server.terminate()
            server.wait(10)


@pytest.fixture(scope="session")
def chromium():
    """Return a headless browser; without one these tests are skipped."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser found: none of {', '.join(NAMES)} is on the path (.ci/run installs Debian's chromium)")
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=found, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def tab(chromium, site):
    """Return a function that opens a page; afterwards nothing may have gone wrong or left the machine."""
    asked, wrong, contexts = [], [], []

    def opened(address, width=1360, height=900, colours="light"):
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme=colours, accept_downloads=True
        )
        context.grant_permissions(["clipboard-read", "clipboard-write"], origin=site.address)
        contexts.append(context)
        context.on("request", lambda request: asked.append(request.url))
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
        page.goto(site.address + address)
        return page

    yield opened
    for context in contexts:
        context.close()
    outside = [
        url for url in asked if urlsplit(url).scheme not in ("data", "blob") and not url.startswith(site.address)
    ]
    assert not outside
    assert asked
    assert not wrong
