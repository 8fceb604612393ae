"""What every system can be asked for."""

import json
import subprocess
import time

from ..process import Failed

# No workload takes longer than this, unless it says so; what does hangs.
PATIENCE_SECONDS = 300


class System:
    """One system: its server, a worker beside it, and a program that is its clients."""

    # As it stands in the tables.
    name = ""
    # What it has of the workloads.
    can = frozenset()
    # The processes of the server, whose CPU and memory count.
    servers = ()
    # Those of its workers.
    workers = ()

    def start(self, home):
        """Starts everything on an empty store below `home`, and waits until it can work."""
        raise NotImplementedError

    def stop(self):
        """Ends everything."""
        for process in (*self.workers, *self.servers):
            process.stop()

    def kill(self):
        """Ends the server with -9."""
        for process in self.servers:
            process.stop()

    def again(self):
        """Starts the server again, on what it left, and does not wait for it."""
        raise NotImplementedError

    def client(self):
        """The command line of its clients' program, as far as it is always the same."""
        raise NotImplementedError

    def requests(self):
        """Requests and bytes that went to the store so far; None where there is no such thing."""
        return None

    def ask(self, *arguments, patience=PATIENCE_SECONDS):
        """Runs the clients' program, and gives what it prints."""
        return self.answer(arguments, self.begin(*arguments), patience)

    def answer(self, arguments, clients, patience=PATIENCE_SECONDS):
        """What a program that was begun prints in the end; what can only hang is ended instead."""
        what = f"{self.name}: {' '.join(map(str, arguments))}"
        end = time.monotonic() + patience
        try:
            while True:
                try:
                    output, errors = clients.communicate(timeout=1)
                    break
                except subprocess.TimeoutExpired:
                    for process in (*self.servers, *self.workers):
                        process.require_up()
                    if time.monotonic() > end:
                        raise Failed(f"{what}: not over after {patience} s") from None
        finally:
            clients.kill()
            clients.wait()
        if clients.returncode:
            raise Failed(f"{what}: {errors.strip() or f'ended with {clients.returncode}'}")
        return json.loads(output) if output.strip() else None

    def expect_deaths(self, lease):
        """Sets how long a dead worker is not missed, where a system has such a thing; before `start`."""

    def prepare_long(self, steps):
        """Starts what only a long run needs."""

    def begin(self, *arguments):
        """The same, but does not wait for it: the process."""
        command = [str(part) for part in (*self.client(), *arguments)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def start_sleepers(self, prefix, count, per_second=0):
        """Begins `count` sleepers called after `prefix`, so many a second; 0: as fast as it can."""
        return self.ask("start", "--prefix", prefix, "--count", count, "--per-second", per_second)

    def sleep(self, prefix, count, per_second):
        """Begins sleepers and waits until all have ended."""
        started = self.start_sleepers(prefix, count, per_second)
        waited = self.ask("wait", "--prefix", prefix, "--count", count)
        waited.pop("ends_ms")
        return {**waited, **started}

    def sleep_lateness(self, prefix, count):
        """How late their sleeps ended, where `sleep` did not say that."""
        return {}

    def verify_once(self, workload, prefix, count):
        """Fails unless each execution completed once; what the clients have checked is no matter."""
