#!/usr/bin/env python3
"""Ceph's radosgw on a cluster of one, all in memory; see common/command.py for the commands."""

import sys
import uuid

from common.command import main
from common.install import require
from common.s3 import S3Server
from common.server import free_port

# `auth none` everywhere, and one copy of everything, as a cluster for tests needs. The `crc` modes go
# with it: radosgw asks its monitor for encryption otherwise, which there is none of without keys.
CONFIGURATION = """\
[global]
fsid = {fsid}
mon initial members = a
mon host = [v2:127.0.0.1:{monitor},v1:127.0.0.1:{monitor_v1}]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
public network = 127.0.0.0/8
ms bind ipv6 = false
auth cluster required = none
auth service required = none
auth client required = none
ms mon client mode = crc
ms mon service mode = crc
ms mon cluster mode = crc
mon allow pool size one = true
mon warn on pool no redundancy = false
mon max pg per osd = 1000
mon data avail warn = 1
mon data avail crit = 1
mgr initial modules =
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
osd objectstore = memstore
memstore device bytes = 4294967296
osd class load list = *
osd class default list = *
run dir = {home}/run
log file = {home}/$name.log
admin socket = {home}/run/$name.asok
pid file = {home}/run/$name.pid
mon data = {home}/mon
mgr data = {home}/mgr
osd data = {home}/osd
rgw data = {home}/rgw
keyring = {home}/keyring
"""


class Ceph(S3Server):
    name = "ceph"
    about = "Ceph's radosgw with its monitor, manager and one OSD, from Debian's packages"

    def install(self) -> None:
        programs = {
            "ceph-mon": "ceph-mon",
            "monmaptool": "ceph-mon",
            "ceph-mgr": "ceph-mgr",
            "ceph-osd": "ceph-osd",
            "ceph": "ceph-common",
            "radosgw": "radosgw",
            "radosgw-admin": "radosgw",
        }
        self.programs = {program: require(program, package) for program, package in programs.items()}

    def boot(self) -> None:
        fsid, osd = str(uuid.uuid4()), str(uuid.uuid4())
        monitor, monitor_v1 = free_port(), free_port()
        for folder in ("run", "mon", "mgr", "osd", "rgw"):
            (self.home / folder).mkdir()
        (self.home / "keyring").touch()
        text = CONFIGURATION.format(
            fsid=fsid, home=self.home, monitor=monitor, monitor_v1=monitor_v1
        )
        (self.home / "ceph.conf").write_text(text)

        where = f"[v2:127.0.0.1:{monitor},v1:127.0.0.1:{monitor_v1}]"
        self.ask("monmaptool", "--create", "--addv", "a", where, "--fsid", fsid, "monmap")
        self.ask("ceph-mon", "--mkfs", "-i", "a", "--monmap", "monmap")
        self.serve("ceph-mon", "-i", "a")
        self.serve("ceph-mgr", "-i", "x")
        self.ask("ceph", "osd", "new", osd)
        self.ask("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self.serve("ceph-osd", "-i", "0")
        self.ask("ceph", "osd", "crush", "add", "osd.0", "1.0", "host=here", "root=default")
        self.ask(
            *("radosgw-admin", "user", "create", "--uid", "test", "--display-name", "test"),
            *("--access-key", self.access_key, "--secret-key", self.secret_key),
        )
        # Without tcp_nodelay each GET takes 42 ms.
        self.serve(
            *("radosgw", "-n", "client.rgw", "--rgw-enable-usage-log=false"),
            f"--rgw-frontends=beast endpoint=127.0.0.1:{self.port} tcp_nodelay=1",
        )

    def ask(self, program: str, *words: str) -> None:
        """Runs one of its tools to its end."""
        self.once([self.programs[program], *self.configured(), *words])

    def serve(self, program: str, *words: str) -> None:
        """Starts one of its daemons, as a child."""
        self.launch([self.programs[program], *self.configured(), "-f", *words])

    def configured(self) -> list[str]:
        return ["-c", str(self.home / "ceph.conf")]


if __name__ == "__main__":
    sys.exit(main(Ceph))
