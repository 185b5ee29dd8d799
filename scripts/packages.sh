# Sourced by the other scripts: installs the Debian packages that are missing. Needs root only when one is.

holdfast_packages=(
    gcc libc6-dev pkg-config libssl-dev liblz4-dev libyaml-dev         # building
    iproute2 iputils-arping iputils-ping nftables util-linux           # nodes and wires
    e2fsprogs xfsprogs postgresql resource-agents                      # what a cluster runs on
    nbdkit libnbd-bin fuse3 iptables                                   # disks that fail and hang, a peer, blocked ports
    fio qemu-utils procps python3 python3-venv                                # measuring and looking
)

# What only the rig of guests needs (guests/README.md).
guests_packages=(
    gcc libc6-dev iproute2 util-linux procps python3                   # its agents, its network, its programs
    qemu-system-x86 seabios qemu-utils                                 # machines and their disks
    debootstrap e2fsprogs cpio kmod                                    # the system in them
)

# Installs the packages named, or those of the list above.
install_packages() {
    local missing=() package
    for package in "${@:-${holdfast_packages[@]}}"; do
        dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q '^install ok installed$' || missing+=("$package")
    done
    if [ ${#missing[@]} -eq 0 ]; then return 0; fi
    if [ "$(id -u)" -ne 0 ]; then
        echo "missing packages: ${missing[*]}; run as root, or: sudo apt-get install ${missing[*]}" >&2
        return 1
    fi
    echo "installing ${missing[*]}"
    # A database of the distribution's own must not start beside the cluster's.
    mkdir -p /etc/postgresql-common
    [ -e /etc/postgresql-common/createcluster.conf ] ||
        echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null 2>&1 || {
        apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    }
}

need_swift() {
    command -v swift >/dev/null && return 0
    local place
    for place in /opt/swift/usr/bin /usr/local/swift/usr/bin "$HOME/.local/share/swiftly/bin"; do
        if [ -x "$place/swift" ]; then export PATH="$place:$PATH"; return 0; fi
    done
    echo "swift is not in PATH; install Swift 6.2 or later from https://www.swift.org/install/linux/" >&2
    return 1
}

# Where mypy and ruff are, as scripts/python-tools.txt wants them: a virtual environment beside the build, made on first use.
python_tools() {
    local folder=.build/python-tools
    if ! cmp -s scripts/python-tools.txt "$folder/made-for"; then
        rm -rf "$folder"
        mkdir -p .build
        /usr/bin/python3 -m venv "$folder" >&2 || { echo "no venv: apt-get install python3-venv" >&2; return 1; }
        "$folder/bin/pip" install --quiet --disable-pip-version-check -r scripts/python-tools.txt >&2 || return 1
        cp scripts/python-tools.txt "$folder/made-for"
    fi
    echo "$folder/bin"
}

# Types and style of all Python here; says nothing when all is well. Programs without an ending are modules too.
lint_python() {
    local tools program
    tools=$(python_tools) || return 1
    "$tools/ruff" check --quiet . || return 1
    "$tools/mypy" --no-error-summary chaos guests Benchmarks Tests/EndToEnd Tests/Models || return 1
    for program in $python_programs; do
        "$tools/mypy" --no-error-summary --scripts-are-modules "$program" || return 1
    done
}
python_programs="chaos/run guests/run guests/image guests/terminal Benchmarks/run scripts/mutants scripts/hunt"
