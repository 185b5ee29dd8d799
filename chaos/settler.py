"""After a scenario: every fault ends, and the cluster must become healthy by itself."""
from .lab.cluster import Cluster
from .lab.disk import Disk
from .lab.node import Node
from .workload import checkers


def settle(cluster: Cluster) -> None:
    """Ends every fault, and waits until the cluster is healthy again."""
    lab = cluster.lab
    for node in lab.nodes.values():
        if node.disk:
            mend(node, node.disk)
        if node.is_up:
            node.freeze(False)
            node.resume()
    lab.heal()
    for site in lab.network.relays:
        lab.network.set_wan(site, "cut=none loss=0")
    for node in lab.nodes.values():
        if not node.is_up:
            cluster.return_node(node.name)
    try:
        cluster.wait_healthy(120)
    except TimeoutError as error:
        raise checkers.Broken("BoundedRecovery", f"not healthy after every fault ended: {error}") from None


def mend(node: Node, disk: Disk) -> None:
    """Gives a node its disk back. One that answered with errors needs a file system check, as after a repair."""
    disk.answer()
    was_broken, holds_log = disk.is_broken, disk.place == "/var/lib/holdfast"
    if disk.is_full and node.is_up:
        disk.free(node.path(disk.place))
    if was_broken and node.is_up and (disk.fails or not holds_log):
        node.power_off()  # a copy that lost writes stays failed until its server is started anew
    disk.repair()
