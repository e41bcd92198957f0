"""Starts the built proxy with settings of a manifest, asks it what came of them, and stops it."""

import contextlib
import json
import os
import pathlib
import queue
import re
import signal
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

PATIENCE_SECS = 60


def binary():
    return os.environ["MQTT_PROXY_BINARY"]


def clean_environment(extra):
    """None of the variables of whoever runs this reaches the proxy."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MQTT_PROXY", "RUST_LOG", "LOG_LEVEL"))}
    return {**kept, **extra}


def effective_settings(arguments, environment):
    """What `mqtt-proxy check` prints, or its complaint."""
    command = [binary(), "check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=clean_environment(environment), timeout=PATIENCE_SECS)
    return done.stdout, done.stderr if done.returncode else ""


class Proxy:
    def __init__(self, arguments, environment, data):
        command = [binary(), "serve", *arguments, "--listen", "127.0.0.1:0", "--web", "127.0.0.1:0", "--data", str(data)]
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env=clean_environment({**environment, "RUST_LOG": "info"})
        )
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()
        self.said = []
        try:
            self.web = self.address("web listening on")
            self.address("mqtt listening on")
        except Exception:
            self.process.kill()
            self.process.wait()
            raise

    def read(self):
        for line in self.process.stderr:
            self.lines.put(line)
        self.lines.put(None)

    def address(self, words):
        end = time.monotonic() + PATIENCE_SECS
        while True:
            line = self.lines.get(timeout=max(0.0, end - time.monotonic()))
            if line is None:
                raise RuntimeError("the proxy did not start: " + " ".join(self.said))
            self.said.append(line.strip())
            found = re.search(words + r" (127\.0\.0\.1:\d+)", line)
            if found:
                return found[1]

    def ask(self, path):
        """The status and the JSON of an answer."""
        try:
            with urllib.request.urlopen(f"http://{self.web}{path}", timeout=PATIENCE_SECS) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def stop(self):
        """Its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE_SECS)
        finally:
            self.process.kill()


@contextlib.contextmanager
def running(arguments, environment):
    with tempfile.TemporaryDirectory() as scratch:
        proxy = Proxy(arguments, environment, pathlib.Path(scratch) / "data")
        try:
            yield proxy
        finally:
            if proxy.process.poll() is None:
                proxy.stop()


def seeded(seed, secret):
    """The brokers that a new proxy has after it has read this file."""
    environment = {"MQTT_PROXY__DATA__SEED": str(seed), "MQTT_PROXY_SECRET": secret}
    with running([], environment) as proxy:
        status, answer = proxy.ask("/api/brokers")
        if status != 200:
            raise RuntimeError(f"/api/brokers: {status} {answer}")
        return answer["brokers"] if isinstance(answer, dict) else answer
