"""Ports are free, ours alone, and not among those that the kernel gives out."""

import random
import socket
import subprocess
import sys

from pipeline.embedded import ports

OTHER = "import random; from pipeline.embedded import ports; print(*ports.free_ports(20, random.Random({seed})))"


def test_ports_are_different_and_can_be_listened_on() -> None:
    found = [*ports.free_ports(20), *ports.free_ports(20)]
    assert len(set(found)) == 40
    for port in found:
        with socket.create_server((ports.LOOPBACK, port)):
            pass


def test_another_process_is_not_given_our_ports() -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    mine = ports.free_ports(20, random.Random(seed))
    other = subprocess.run(
        [sys.executable, "-c", OTHER.format(seed=seed)], capture_output=True, text=True, check=True
    ).stdout
    assert not set(mine) & {int(port) for port in other.split()}


def test_a_port_that_someone_listens_on_is_passed_over() -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    candidates = list(range(ports.LOWEST, ports.first_ephemeral()))
    random.Random(seed).shuffle(candidates)
    with socket.create_server((ports.LOOPBACK, candidates[0])):
        assert candidates[0] not in ports.free_ports(5, random.Random(seed))
