"""The part of a kubelet that a probe meets: runs the pods of a Deployment in the root of an image, and probes them as its manifest says.

    kubelet.py MANIFEST ROOT COMMAND [NAME=VALUE]...

COMMAND, as the manifest's user, is the application; NAME=VALUE are variables that its cluster would have said otherwise, and without
a value they are taken away. A startup probe comes before the others; a startup or liveness probe that failed as often as it may kills
and restarts its container, a readiness probe makes it unready; a probe that takes longer than its timeout is killed and has failed. A
container that exits is unready and is started again. Prints a line for each change, with the seconds since the start. Needs root and PyYAML;
ends on SIGTERM, and so does all that it started.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import yaml

START = time.monotonic()
STOP = threading.Event()
CHROOT = shutil.which("chroot", path=f"{os.environ['PATH']}:/usr/sbin")


def say(text):
    print(f"{time.monotonic() - START:6.1f} {text}", flush=True)


class Container:
    """A container of a pod, and what is known of it."""

    def __init__(self, pod, spec, root, command, given):
        self.pod, self.spec, self.root, self.command = pod, spec, root, command
        self.environment = {"PATH": "/usr/bin:/bin"}
        for variable in spec.get("env", []):
            self.environment[variable["name"]] = variable.get("value", pod)
        for variable in given:
            name, _, value = variable.partition("=")
            self.environment.pop(name, None)
            if value:
                self.environment[name] = value
        self.ready = False
        self.started = threading.Event()
        self.process = None

    def run(self, command, **more):
        user = str(self.spec["securityContext"]["runAsUser"])
        words = [CHROOT, f"--userspec={user}:{user}", "--groups=", self.root]
        return subprocess.Popen(words + command, env=self.environment, stdin=subprocess.DEVNULL, start_new_session=True, **more)

    def start(self):
        self.process = self.run(self.command)
        say(f"{self.pod} started, process {self.process.pid}")

    def kill(self):
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def probe(self, kind):
        """Whether it passes, and what it says."""
        probe = self.spec[f"{kind}Probe"]
        process = self.run(probe["exec"]["command"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            text, _ = process.communicate(timeout=probe.get("timeoutSeconds", 1))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return False, "took too long"
        return process.returncode == 0, text.strip()

    def runs_for(self, seconds):
        """Waits, and returns whether the container still runs."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not STOP.wait(0.2):
            if self.process.poll() is not None:
                return False
        return self.process.poll() is None

    def watch(self, kind):
        """Probes again and again, and yields each result that counts; ends with the container."""
        probe = self.spec[f"{kind}Probe"]
        failures, told = 0, None
        while self.runs_for(probe.get("periodSeconds", 10)) and not STOP.is_set():
            passed, text = self.probe(kind)
            failures = 0 if passed else failures + 1
            if (passed, failures) != told and failures <= 1:
                say(f"{self.pod} {kind}: {text}")
                told = (passed, failures)
            if failures >= probe.get("failureThreshold", 3):
                yield False
                failures = 0
            elif passed:
                yield True

    def run_once(self):
        """Runs the container until it has to be restarted, and returns why."""
        self.start()
        for passed in self.watch("startup"):
            if not passed:
                return "restarted by its startup probe"
            self.started.set()
            break
        for passed in self.watch("liveness"):
            if not passed:
                return "restarted by its liveness probe"
        return f"exited with {self.process.returncode}"

    def live(self):
        while not STOP.is_set():
            why = self.run_once()
            if not STOP.is_set():
                say(f"{self.pod} {why}")
            self.started.clear()
            self.kill()
            self.become(False)

    def judge(self):
        while not STOP.wait(0.2):
            if self.started.is_set():
                for passed in self.watch("readiness"):
                    self.become(passed)

    def become(self, ready):
        if ready != self.ready:
            self.ready = ready
            say(f"{self.pod} {'ready' if ready else 'unready'}")


def main(manifest, root, command, *given):
    signal.signal(signal.SIGTERM, lambda *_: STOP.set())
    with open(manifest) as file:
        deployment = next(document for document in yaml.safe_load_all(file) if document["kind"] == "Deployment")
    spec = deployment["spec"]["template"]["spec"]["containers"][0]
    containers = [Container(f"orders-{i}", spec, root, command.split(), given) for i in range(deployment["spec"]["replicas"])]
    threads = [threading.Thread(target=work, daemon=True) for c in containers for work in (c.live, c.judge)]
    for thread in threads:
        thread.start()
    STOP.wait()
    for thread in threads:
        thread.join(15)
    for container in containers:
        container.kill()


if __name__ == "__main__":
    main(*sys.argv[1:])
