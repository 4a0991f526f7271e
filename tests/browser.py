"""A page as a real browser shows it."""

import shutil
import subprocess

import pytest

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
in_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium: apt-get install chromium")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


def browse(page, folder, theme=""):
    """The page's elements once its scripts have run, and the lines of its console."""
    flags = [*FLAGS, f"--user-data-dir={folder}", "--enable-logging=stderr", "--v=0"]
    done = subprocess.run(
        [BROWSER, *flags, "--virtual-time-budget=5000", "--dump-dom", page.as_uri() + theme],
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.stdout, [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
