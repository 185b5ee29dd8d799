"""The first process of a node: collects orphans. When it dies, the kernel kills everything on the node."""
import os
import signal
import time

for number in (signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
while True:
    try:
        os.waitpid(-1, 0)
    except ChildProcessError:
        time.sleep(0.05)
