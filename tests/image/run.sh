#!/usr/bin/env bash
# Builds the image that the Containerfile describes, and runs the chart's roles in containers of it.
#
#     bash tests/image/run.sh                                  builds from Rust's image on its registry
#     LINKAGE_BASE=here bash tests/image/run.sh                where no registry of images is reached: see README.md
#     LINKAGE_IMAGE=registry/name@digest bash tests/image/run.sh   an image that was built elsewhere, pulled or loaded before
#
# Needs root, podman, crun, iproute2 and what tests/run.sh has installed (target/tools/chart); with LINKAGE_BASE=here debootstrap and
# rustup's toolchain of this machine with its musl target. What is built stays in target/image, for the next time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
root=$PWD
target=${CARGO_TARGET_DIR:-$root/target}
work=$target/image
chart=$target/tools/chart

fail() { printf '%s\n' "$1" >&2; exit 1; }
[ "$(id -u)" -eq 0 ] || fail "run this as root: namespaces, mounts and accounts are made as a cluster's machine makes them"
needs=(podman crun ip)
[ "${LINKAGE_BASE:-}" != here ] || needs+=(debootstrap rustup)
for program in "${needs[@]}"; do
    command -v "$program" >/dev/null || fail "no $program: install the packages podman, crun, iproute2 (and debootstrap for LINKAGE_BASE=here)"
done
[ -x "$chart/helm" ] || fail "no Helm: run tests/run.sh once, it installs what the chart's tests need"

# A store of its own: no image of the machine is seen or changed.
mkdir -p "$work/images" "$work/state"
printf '[storage]\ndriver = "overlay"\ngraphroot = "%s"\nrunroot = "%s"\n' "$work/images" "$work/state" >"$work/storage.conf"
# What a container may open, whatever the limit is here.
printf '[containers]\ndefault_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]\n[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\nruntime = "crun"\n' \
    >"$work/containers.conf"
export CONTAINERS_STORAGE_CONF=$work/storage.conf CONTAINERS_CONF=$work/containers.conf

# base NAME: an image with the parts of Rust's own that the build uses: Debian 12, a C compiler, this machine's toolchain in its place.
base() {
    local folder=$work/base toolchain
    toolchain=$(rustc --version | cut -d ' ' -f 2)-$(uname -m)-unknown-linux-gnu
    rm -rf "$folder"
    debootstrap --variant=minbase --include=ca-certificates,gcc,libc6-dev bookworm "$folder" http://deb.debian.org/debian >"$work/debootstrap.log" ||
        fail "debootstrap failed: see $work/debootstrap.log"
    mkdir -p "$folder/usr/local/rustup/toolchains" "$folder/usr/local/cargo/bin"
    cp -rL "$(rustc --print sysroot)" "$folder/usr/local/rustup/toolchains/$toolchain"
    rm -rf "$folder/usr/local/rustup/toolchains/$toolchain/share"
    cp -P "$(dirname "$(command -v cargo)")"/* "$folder/usr/local/cargo/bin/"
    printf 'version = "12"\ndefault_toolchain = "%s"\nprofile = "minimal"\n' "$toolchain" >"$folder/usr/local/rustup/settings.toml"
    # A network that is reached through an authority of its own has it there.
    cp /etc/ssl/certs/ca-certificates.crt "$folder/etc/ssl/certs/ca-certificates.crt"
    tar -C "$folder" --numeric-owner -c . | podman import --quiet --change ENV=RUSTUP_HOME=/usr/local/rustup --change ENV=CARGO_HOME=/usr/local/cargo \
        --change ENV=PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin - "$1"
    rm -rf "$folder"
}

if [ -z "${LINKAGE_IMAGE:-}" ]; then
    export LINKAGE_IMAGE=localhost/linkage:essai
    options=(--isolation chroot --tag "$LINKAGE_IMAGE")
    if [ "${LINKAGE_BASE:-}" = here ]; then
        podman image exists localhost/rust:here || base localhost/rust:here
        options+=(--build-arg RUST=localhost/rust:here --volume "${CARGO_HOME:-$HOME/.cargo}/registry:/usr/local/cargo/registry")
    fi
    podman build "${options[@]}" .
fi
held=$(podman image mount "$LINKAGE_IMAGE")
cp "$held/linkage" "$work/linkage"
podman image unmount "$LINKAGE_IMAGE" >/dev/null

# The test's network, and a mount table to be changed at will. crun refuses a hierarchy of control groups that is half old, half new:
# the new half is not used then.
LINKAGE_BIN=$work/linkage HELM=$chart/helm PYTHONPATH=$chart/python:tests/chart PYTHONDONTWRITEBYTECODE=1 \
    unshare --mount --net --propagation private sh -c '
        [ ! -d /sys/fs/cgroup/unified ] || umount /sys/fs/cgroup/unified
        mkdir -p /run/netns && mount -t tmpfs none /run/netns
        ip link set lo up
        exec python3 -m unittest discover --start-directory tests/image --pattern "test_*.py"'
