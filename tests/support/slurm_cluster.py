"""A SLURM cluster of one node, in the foreground of this process and gone with it; Debian: slurm-wlm and munge.

Everything lies in one folder: the daemons run as the user who starts them and know no other cluster of the machine.
"""

import contextlib
import getpass
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "sbatch", "sinfo")
_SECONDS = 60.0
"""Longest wait for a daemon."""

_CONFIGURATION = """\
ClusterName=one
SlurmctldHost={host}
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
NodeName={host} CPUs={cpus} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def missing_programs() -> list[str]:
    """What of `PROGRAMS` is not installed."""
    return [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[None]:
    """Start the daemons and set SLURM_CONF, so that SLURM's commands, run inside, speak to them; end them after."""
    for name in ("state", "spool"):
        (folder / name).mkdir()
    configuration = folder / "slurm.conf"
    ports = [_free_port() for _ in range(2)]
    text = _CONFIGURATION.format(
        host=socket.gethostname().partition(".")[0],
        controller_port=ports[0],
        node_port=ports[1],
        user=getpass.getuser(),
        folder=folder,
        cpus=os.cpu_count(),
    )
    configuration.write_text(text)
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(configuration)
    try:
        with _munge(folder), _daemon(["slurmctld", "-D"], folder), _daemon(["slurmd", "-D"], folder):
            _wait_for("an idle node", _node_is_idle, folder)
            yield
    finally:
        if before is None:
            del os.environ["SLURM_CONF"]
        else:
            os.environ["SLURM_CONF"] = before


@contextlib.contextmanager
def _munge(folder: Path) -> Iterator[None]:
    """Start the daemon that SLURM's parts know each other by, with a key of its own."""
    key, socket = folder / "munge.key", folder / "munge.socket"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))
    places = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "log", "pid", "seed")]
    # Forced, since it distrusts the folders above, which may be those of all users.
    with _daemon(["munged", "--foreground", "--force", f"--socket={socket}", *places], folder):
        _wait_for("munged", socket.exists, folder)
        yield


@contextlib.contextmanager
def _daemon(command: Sequence[str], folder: Path) -> Iterator[None]:
    name, *arguments = command
    program = shutil.which(name, path=_path())
    if program is None:
        raise FileNotFoundError(name)
    with (folder / f"{name}.out").open("wb") as output:
        process = subprocess.Popen([program, *arguments], stdout=output, stderr=subprocess.STDOUT)  # noqa: S603 - ours
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _node_is_idle() -> bool:
    command = ["sinfo", "--noheader", "--format=%t"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - fixed
    return answer.stdout.strip() == "idle"


def _wait_for(what: str, exists: Callable[[], bool], folder: Path) -> None:
    end = time.monotonic() + _SECONDS
    while not exists():
        if time.monotonic() > end:
            lines = [
                f"{path.name}:\n{path.read_text(errors='replace')[-2000:]}" for path in sorted(folder.glob("*.[lo]*"))
            ]
            raise TimeoutError("\n".join([f"waited {_SECONDS:.0f} s for {what}", *lines]))
        time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("", 0))
        port: int = free.getsockname()[1]
        return port


def _path() -> str:
    """Where to look for daemons, which a user's path may not have."""
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
