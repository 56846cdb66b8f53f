"""Tests the board of the example `live` with two pages in a headless Chromium.

    live.py CHROMEDRIVER http://host:port/ SCREENSHOT

A third viewer, named Rust, must be connected. It points to the middle, and votes for the first choice.
"""

import base64
import json
import subprocess
import sys
import tempfile
import time
import urllib.request

PATIENCE = 20
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--window-size=1000,720",
]


class Browser:
    """A session of WebDriver."""

    def __init__(self, port, profile):
        self.base = f"http://127.0.0.1:{port}/session"
        options = {"args": [*ARGUMENTS, f"--user-data-dir={profile}"]}
        session = self.post("", {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}})
        self.base += "/" + session["sessionId"]

    def post(self, path, body):
        data = json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"})
        return self.value(request)

    @staticmethod
    def value(request):
        # The driver runs on this machine, so no proxy is used.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=PATIENCE) as answer:
            return json.load(answer)["value"]

    def window(self):
        return self.post("/window/new", {"type": "window"})["handle"]

    def run(self, window, script, *args):
        self.post("/window", {"handle": window})
        return self.post("/execute/sync", {"script": script, "args": args})

    def until(self, window, what, script, *args):
        deadline = time.monotonic() + PATIENCE
        while not self.run(window, script, *args):
            page = self.run(window, "return document.body.innerText")
            assert time.monotonic() < deadline, f"it never comes to this: {what}. The page says: {page!r}"
            time.sleep(0.02)

    def screenshot(self, window):
        self.post("/window", {"handle": window})
        return base64.b64decode(self.value(urllib.request.Request(self.base + "/screenshot")))


def join(browser, url, name):
    window = browser.window()
    browser.post("/window", {"handle": window})
    browser.post("/url", {"url": url})
    browser.run(window, "const [name] = arguments; document.getElementById('name').value = name;"
                        "document.getElementById('join').requestSubmit()", name)
    browser.until(window, f"{name} is in", "return !document.getElementById('room').hidden")
    return window


def says(browser, window, place, text):
    script = "const [place, text] = arguments; return document.getElementById(place).innerText.includes(text)"
    browser.until(window, f"{place} says {text!r}", script, place, text)


def sees_cursor(browser, window, name, left):
    script = ("const [name, left] = arguments; return [...document.querySelectorAll('.cursor')].some(cursor =>"
              "!cursor.hidden && cursor.textContent === name && Math.abs(parseFloat(cursor.style.left) - left) < 1)")
    browser.until(window, f"the cursor of {name} is seen at {left} %", script, name, left)


def point(browser, window, part):
    browser.run(window, "const board = document.getElementById('board'), at = board.getBoundingClientRect();"
                        "board.dispatchEvent(new PointerEvent('pointermove', { clientX: at.left + at.width * arguments[0],"
                        "clientY: at.top + at.height / 3 }))", part)


def click(browser, window, label):
    browser.run(window, "[...document.querySelectorAll('button')].find(button =>"
                        "button.textContent === arguments[0]).click()", label)


def look(browser, url, screenshot):
    ada, bob = join(browser, url, "Ada"), join(browser, url, "Bob")
    for window in (ada, bob):
        for name in ("Ada", "Bob", "Rust"):
            says(browser, window, "people", name)
        sees_cursor(browser, window, "Rust", 50)
    point(browser, ada, 0.25)
    sees_cursor(browser, bob, "Ada", 25)
    point(browser, bob, 0.75)
    sees_cursor(browser, ada, "Bob", 75)

    click(browser, bob, "Ask everybody")
    says(browser, ada, "vote", "Shall we stop?")
    says(browser, bob, "vote", "Shall we stop?")
    click(browser, ada, "yes")
    click(browser, bob, "no")
    for window in (ada, bob):
        says(browser, window, "vote", "yes: 2")
        says(browser, window, "vote", "no: 1")
    with open(screenshot, "wb") as file:
        file.write(browser.screenshot(ada))


def main(chromedriver, url, screenshot):
    driver = subprocess.Popen([chromedriver, "--port=0"], stdout=subprocess.PIPE, text=True)
    try:
        line = next(line for line in driver.stdout if "successfully on port" in line)
        port = int(line.rsplit("port", 1)[1].strip(" .\n"))
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            browser = Browser(port, profile)
            try:
                look(browser, url, screenshot)
            finally:
                browser.value(urllib.request.Request(browser.base, method="DELETE"))
    finally:
        driver.terminate()


main(*sys.argv[1:])
