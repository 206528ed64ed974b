"""The few W3C WebDriver calls the tests need, with the standard library only."""

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Browser:
    """A browser behind its driver; both end with `close`."""

    def __init__(self, driver, capabilities, size=(1280, 800)):
        self.port = free_port()
        self.process = subprocess.Popen(
            [*driver, f"--port={self.port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        for _ in range(100):
            try:
                if self._call("GET", "/status")["ready"]:
                    break
            except (OSError, KeyError):
                time.sleep(0.1)
        answer = self._call("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})
        self.session = "/session/" + answer["sessionId"]
        self._call("POST", self.session + "/timeouts", {"script": 60000, "pageLoad": 30000})
        self.resize(*size)

    def _call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", data=data, method=method, headers={"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=90) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"][:500]) from None

    def open(self, url):
        self._call("POST", self.session + "/url", {"url": url})

    def run(self, script, *arguments):
        """The value a function body returns or a promise resolves with."""
        wrapped = (
            "const done = arguments[arguments.length - 1]; const values = Array.from(arguments).slice(0, -1);"
            f"(async (...args) => {{ {script} }})(...values).then(v => done({{ok: v}}), e => done({{error: String(e && e.stack || e)}}));"
        )
        answer = self._call("POST", self.session + "/execute/async", {"script": wrapped, "args": list(arguments)})
        assert "error" not in answer, answer["error"]
        return answer.get("ok")

    def wait(self, script, seconds=10, *arguments):
        """The first value of `script` that is true."""
        end = time.monotonic() + seconds
        while True:
            value = self.run(script, *arguments)
            if value:
                return value
            assert time.monotonic() < end, f"not within {seconds} s: {script}"
            time.sleep(0.05)

    def resize(self, width, height):
        self._call("POST", self.session + "/window/rect", {"width": width, "height": height})

    def drag(self, css, steps, rest=0.15):
        """Presses the mouse on the middle of an element, moves it by each of `steps` pixels, 20 ms apart, rests, and lets go."""
        element = self._call("POST", self.session + "/element", {"using": "css selector", "value": css})
        moves = [{"type": "pointerMove", "duration": 20, "x": step, "y": 0, "origin": "pointer"} for step in steps]
        actions = [
            {"type": "pointerMove", "duration": 0, "x": 0, "y": 0, "origin": element}, {"type": "pointerDown", "button": 0}, *moves,
            {"type": "pause", "duration": int(rest * 1000)}, {"type": "pointerUp", "button": 0}]
        self._call("POST", self.session + "/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": actions}]})

    def tap(self, x, y):
        """At a place of the window, in CSS pixels."""
        actions = [
            {"type": "pointerMove", "duration": 50, "x": int(x), "y": int(y)}, {"type": "pointerDown", "button": 0}, {"type": "pause", "duration": 40},
            {"type": "pointerUp", "button": 0}]
        self._call("POST", self.session + "/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": actions}]})

    def click(self, css):
        element = self._call("POST", self.session + "/element", {"using": "css selector", "value": css})
        self._call("POST", f"{self.session}/element/{next(iter(element.values()))}/click", {})

    def screenshot(self, path):
        with open(path, "wb") as file:
            file.write(base64.b64decode(self._call("GET", self.session + "/screenshot")))

    def close(self):
        try:
            self._call("DELETE", self.session)
        except (OSError, AssertionError):
            pass
        try:
            os.killpg(self.process.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
        self.process.wait(10)


def chromium(dark=False, size=(1280, 800), downloads=None):
    arguments = [
        "--headless=new", "--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-features=WebRtcHideLocalIpsWithMdns", f"--window-size={size[0]},{size[1]}",
    ]
    if dark:
        arguments.append("--force-dark-mode")
    options = {"binary": "/usr/bin/chromium", "args": arguments}
    if downloads:
        options["prefs"] = {"download.default_directory": str(downloads), "download.prompt_for_download": False}
    return Browser(["chromedriver"], {"browserName": "chrome", "goog:chromeOptions": options}, size)


class Firefox:
    """Debian's Firefox over its own Marionette protocol (length:JSON), since Debian has no geckodriver."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="sudocam-firefox-")
        port = free_port()
        with open(os.path.join(self.folder, "user.js"), "w") as preferences:
            preferences.write(
                f'user_pref("marionette.port", {port});\nuser_pref("media.autoplay.default", 0);\n'
                'user_pref("app.update.enabled", false);\nuser_pref("datareporting.policy.dataSubmissionEnabled", false);\n'
                'user_pref("browser.shell.checkDefaultBrowser", false);\nuser_pref("network.captive-portal-service.enabled", false);\n'
                'user_pref("network.connectivity-service.enabled", false);\n')
        self.process = subprocess.Popen(
            ["firefox-esr", "--headless", "--marionette", "--no-remote", "--profile", self.folder],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        end = time.monotonic() + 40
        while True:
            try:
                self.socket = socket.create_connection(("127.0.0.1", port), 5)
                break
            except OSError:
                assert time.monotonic() < end, "Firefox does not start"
                time.sleep(0.2)
        self.socket.settimeout(60)
        self.count = 0
        self._read()
        self._call("WebDriver:NewSession", {"capabilities": {"alwaysMatch": {"acceptInsecureCerts": True}}})

    def _read(self):
        length = b""
        while not length.endswith(b":"):
            byte = self.socket.recv(1)
            assert byte, "Firefox went away"
            length += byte
        data = b""
        while len(data) < int(length[:-1]):
            data += self.socket.recv(65536)
        return json.loads(data)

    def _call(self, command, arguments):
        self.count += 1
        message = json.dumps([0, self.count, command, arguments]).encode()
        self.socket.sendall(str(len(message)).encode() + b":" + message)
        _, _, error, result = self._read()
        assert not error, error
        return result.get("value") if isinstance(result, dict) else result

    def open(self, url):
        self._call("WebDriver:Navigate", {"url": url})

    def run(self, script, *arguments):
        wrapped = (
            "const done = arguments[arguments.length - 1]; const values = Array.from(arguments).slice(0, -1);"
            f"(async (...args) => {{ {script} }})(...values).then(v => done({{ok: v}}), e => done({{error: String(e)}}));"
        )
        answer = self._call("WebDriver:ExecuteAsyncScript", {"script": wrapped, "args": list(arguments), "scriptTimeout": 30000, "newSandbox": False, "sandbox": None})
        assert "error" not in answer, answer["error"]
        return answer.get("ok")

    wait = Browser.wait

    def close(self):
        try:
            self._call("Marionette:Quit", {"flags": ["eForceQuit"]})
        except (OSError, AssertionError):
            pass
        try:
            os.killpg(self.process.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
        self.process.wait(20)
        shutil.rmtree(self.folder, ignore_errors=True)
