# shellcheck shell=bash
# What the scripts share: finding the tools a fresh Debian machine lacks. Sourced, not run.

# need PACKAGE...: installs what is missing, and says which package could not be had.
need() {
    local missing=()
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    if [ "$(id -u)" -ne 0 ]; then
        echo "$(basename "$0"): needs ${missing[*]}; install them, or run this as root" >&2
        exit 1
    fi
    local log
    log=$(mktemp)
    # Services that the packages would start are started by the tests, each privately.
    if ! { apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        echo "$(basename "$0"): could not install ${missing[*]}" >&2
        exit 1
    fi
    rm -f "$log"
}

# need_rust: a toolchain with the static target of x86-64.
need_rust() { need_rust_for x86_64-unknown-linux-musl; }

# need_rust_for TARGET: a toolchain with that target, and what links programs for it.
need_rust_for() {
    local target=$1
    need gcc libc6-dev git ca-certificates
    if ! command -v cargo >/dev/null; then
        need rustup
    fi
    if command -v rustup >/dev/null; then
        local pinned
        pinned=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
        # A toolchain of another name that is the pinned version saves a download.
        if rustup run stable rustc --version 2>/dev/null | grep -q "^rustc $pinned "; then
            export RUSTUP_TOOLCHAIN=stable
        elif ! rustup toolchain install "$pinned" --profile minimal --component clippy,rustfmt >/dev/null 2>&1; then
            echo "$(basename "$0"): rustup could not fetch the toolchain $pinned" >&2
            exit 1
        fi
    fi
    # rust-toolchain.toml names the target, but a toolchain that was there before may lack it.
    if command -v rustup >/dev/null && ! rustup target list --installed | grep -qx "$target"; then
        rustup target add "$target" >/dev/null 2>&1 || {
            echo "$(basename "$0"): rustup could not fetch the target $target" >&2
            exit 1
        }
    fi
    # As .cargo/config.toml names them.
    case $target in
        aarch64-*) need gcc-aarch64-linux-gnu libc6-dev-arm64-cross ;;
    esac
}

# target_of ARCH: Rust's name for one of Debian's architectures.
target_of() {
    case $1 in
        amd64) echo x86_64-unknown-linux-musl ;;
        arm64) echo aarch64-unknown-linux-musl ;;
        *) echo "$(basename "$0"): there is no machine \"$1\": take amd64 or arm64" >&2; return 2 ;;
    esac
}

# rt_version: the version of rt in this checkout.
rt_version() { sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | sed q; }

# rt_binary: builds the release binary for x86-64 and prints its path.
rt_binary() { rt_binary_for x86_64-unknown-linux-musl; }

# rt_binary_for TARGET: the same for that target. containerd's shim is built beside it; by a command of its own, so that what
# it needs of the crates that both use does not change rt.
rt_binary_for() {
    cargo build --release --quiet --target "$1" -p rt-cli >&2
    cargo build --release --quiet --target "$1" -p rt-shim >&2
    echo "${CARGO_TARGET_DIR:-$PWD/target}/$1/release/rt"
}

# apt_of SUITE DIR deb|deb-src: prepares in DIR an apt of its own for a suite of Debian, so that the machine's sources stay
# as they are. APT_CONFIG=DIR/conf then makes every apt command use it.
apt_of() {
    local mirror
    # shellcheck disable=SC2016
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | sed q)
    if [ -z "$mirror" ]; then
        echo "$(basename "$0"): apt knows no Debian mirror here: check apt's sources" >&2
        return 1
    fi
    mkdir -p "$2"/lists/partial "$2"/cache/archives/partial "$2"/state
    : > "$2/state/status"
    printf '%s [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' "$3" "$mirror" "$1" > "$2/sources"
    printf '%s "%s";\n' Dir::State::lists "$2/lists" Dir::State::status "$2/state/status" Dir::Cache "$2/cache" \
        Dir::Etc::sourcelist "$2/sources" Dir::Etc::sourceparts /dev/null Acquire::Languages none \
        APT::Sandbox::User root > "$2/conf"
}
