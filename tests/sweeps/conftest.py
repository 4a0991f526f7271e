"""A SLURM of one node on the loopback interface, with its own keys, ports and folders."""

import os
import shutil
import socket
import subprocess
import time

import pytest

CONFIG = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
MailProg=/bin/true
SchedulerParameters=batch_sched_delay=0
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch")


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """The environment in which its commands are used; skips where it is not installed."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    missing = [name for name in PROGRAMS if not shutil.which(name, path=path)]
    if missing:
        pytest.skip(f"no {', '.join(missing)}: apt-get install slurm-wlm munge")
    pytest.importorskip("submitit")
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool"):
        (folder / name).mkdir()
    for place in (folder, folder.parent):  # munged wants its socket to be reachable
        place.chmod(0o755)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    config = folder / "slurm.conf"
    user = subprocess.check_output(["id", "-un"], text=True).strip()
    host = socket.gethostname().partition(".")[0]
    config.write_text(CONFIG.format(host=host, user=user, ports=free_ports(2), folder=folder))
    environment = {**os.environ, "PATH": path, "SLURM_CONF": str(config), "JAX_PLATFORMS": "cpu"}
    files = {"key-file": key, "socket": folder / "munge.socket", "pid-file": folder / "munged.pid"}
    files |= {"log-file": folder / "munged.log", "seed-file": folder / "munged.seed"}
    munged = ["munged", "--force", "--foreground"]
    munged += [f"--{name}={file}" for name, file in files.items()]
    daemons = []
    try:
        for command in (munged, ["slurmctld", "-D", "-c"], ["slurmd", "-D"]):
            with (folder / f"{command[0]}.out").open("w") as log:
                daemon = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            daemons.append(daemon)
            time.sleep(1)
        wait_until_idle(environment, folder)
        yield environment
    finally:
        subprocess.run(["scancel", "--me"], env=environment, capture_output=True)
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(300)


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def wait_until_idle(environment, folder):
    deadline = time.monotonic() + 600
    while True:
        shown = subprocess.run(
            ["sinfo", "--noheader", "--format=%T"], env=environment, capture_output=True, text=True
        )
        if shown.stdout.strip() == "idle":
            return
        logs = "\n".join(file.read_text()[-2000:] for file in sorted(folder.glob("*.out")))
        assert time.monotonic() < deadline, f"SLURM did not start: {shown.stderr}\n{logs}"
        time.sleep(0.5)
