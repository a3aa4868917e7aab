"""A headless Chromium that is asked over pipes: no port, no driver, nothing but the program."""

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import tempfile
import time

OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"),
    *("--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--disable-default-apps", "--host-resolver-rules=MAP * ~NOTFOUND"),
    "--remote-debugging-pipe",
)


class Tab:
    """One page of a browser: asks in the Chrome DevTools Protocol and keeps what it reports."""

    def __init__(self, asks, answers):
        self.asks, self.answers, self.events, self.session, self.count = asks, answers, [], None, 0

    def ask(self, method, **params):
        """Returns the answer to one question; events that come before it are kept."""
        self.count += 1
        number, question = self.count, {"id": self.count, "method": method, "params": params}
        if self.session:
            question["sessionId"] = self.session
        self.asks.write(json.dumps(question).encode() + b"\0")
        self.asks.flush()
        while (told := self._next()).get("id") != number:
            self.events.append(told)
        assert "error" not in told, told
        return told["result"]

    def wait(self, method):
        """Waits for an event."""
        while method not in [event.get("method") for event in self.events]:
            self.events.append(self._next())

    def of(self, *methods):
        """Returns what the events of these methods said."""
        return [event["params"] for event in self.events if event.get("method") in methods]

    def value(self, expression):
        """Returns the value of a line of JavaScript."""
        return self.ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"][
            "value"
        ]

    def _next(self):
        text = bytearray()
        while (byte := self.answers.read(1)) != b"\0":
            assert byte, "the browser has ended"
            text += byte
        return json.loads(text)


@contextlib.contextmanager
def tab(program):
    """Opens a browser with an empty profile and one page; closes it in the end."""
    profile = tempfile.mkdtemp()
    (to_read, asks), (answers, to_write) = os.pipe(), os.pipe()
    # the protocol is spoken on descriptors 3 and 4, whatever numbers the pipes have here
    line = [program, *OPTIONS, f"--user-data-dir={profile}", "about:blank"]
    shell = f"exec {shlex.join(line)} 3<&{to_read} 4>&{to_write}"
    process = subprocess.Popen(
        ["bash", "-c", shell], pass_fds=(to_read, to_write), stderr=subprocess.DEVNULL
    )
    os.close(to_read)
    os.close(to_write)
    try:
        with open(asks, "wb") as asks, open(answers, "rb") as answers:
            page = Tab(asks, answers)
            target = page.ask("Target.createTarget", url="about:blank")["targetId"]
            found = page.ask("Target.attachToTarget", targetId=target, flatten=True)
            page.session = found["sessionId"]
            yield page
    finally:
        process.terminate()
        process.wait(20)
        for _ in range(20):  # its children write for a moment longer
            shutil.rmtree(profile, ignore_errors=True)
            if not os.path.exists(profile):
                break
            time.sleep(0.1)
