import Basis

/// The commented `cluster.yaml` that `holdfast init` writes, to be filled in.
public enum ConfigurationTemplate {
    /// The text for a cluster with one node so far; it describes no group yet, so applying it changes nothing.
    public static func text(cluster: String, node: String) -> String {
        """
        # \(cluster): what should run where. Check it with `holdfast plan FILE`, then `holdfast apply FILE`.
        cluster: \(cluster)

        # The sites in which a node of the cluster should lead, the most preferred first. Leave it out where it does not matter.
        # leaderSites: [FIRST-SITE, SECOND-SITE]

        # How fast a dead node is noticed, and how long its lease lets it run on. Leave it out for these values.
        # timing:
        #   lease: 1.75s
        #   grace: 750ms
        #   renewal: 200ms
        #   detection: 700ms

        # Mirrored block devices. Every replica that is in sync holds every acknowledged write.
        # volumes:
        #   data:
        #     size: 1GiB
        #     resyncRate: 50MB/s
        #     replicas:
        #       \(node): { backing: /var/lib/holdfast/data.img, address: "10.0.0.1:7410" }
        #       SECOND-NODE: { backing: /var/lib/holdfast/data.img, address: "10.0.0.2:7410" }

        # Groups fail over as a whole. Their resources start in the order written, and stop in reverse.
        # groups:
        #   web:
        #     nodes: [\(node), SECOND-NODE]       # the most preferred first
        #     takeover: after-lease               # or immediate: faster, an address may answer twice for a moment
        #     failback: false                     # true: go back as soon as a more preferred node is healthy
        #     restart: { attempts: 3, window: 10m }
        #     moves: { maximum: 6, window: 1h }
        #     resources:
        #       - { name: disk, agent: volume, volume: data }
        #       - { name: files, agent: filesystem, volume: data, mount: /srv/data, type: ext4, format: if-blank }
        #       - name: server
        #         agent: exec
        #         command: python3 -m http.server 8080 --directory /srv/data
        #         check: curl --fail --silent --max-time 2 http://127.0.0.1:8080/
        #         checkInterval: 5s
        #         startTimeout: 60s
        #       - { name: ip, agent: address, address: 10.0.0.100/24, interface: eth0 }

        """
    }
}
