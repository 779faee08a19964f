# The Debian package's life: installed beside runc and crun, used by Docker, upgraded over a running container, removed.
# hack/vm/test makes two versions of it with hack/release.

setup() { start_docker <<< '{"runtimes": {"packaged": {"path": "/usr/sbin/rt"}}}'; }
teardown() { stop_docker; }
cleanup() {
  local all; all=$(docker ps -aq)
  [[ -z $all ]] || docker rm -f $all > /dev/null
  dpkg --purge rt-oci-runtime > /dev/null 2>&1 || :
}

# What dpkg may change: its own files, and nothing of an engine's.
outside() { find /etc /usr /var/lib/docker /var/lib/containerd -newer "$1" -type f ! -path '/var/lib/dpkg/*' 2> /dev/null | sort; }

test_life() {
  local debs=("$host"/package/rt-oci-runtime_*_*.deb) old new began main pid
  eq ${#debs[@]} 2 "the packages"
  old=${debs[0]} new=${debs[1]}
  : > "$T/before"; sleep 0.1
  dpkg -i "$old" > /dev/null
  eq "$(/usr/sbin/rt --version | head -1)" "$(/usr/local/bin/rt --version | head -1)" "the packaged program"
  test -x /usr/sbin/runc && test -x /usr/bin/crun && test -x /usr/sbin/containerd-shim-rt-v1
  docker run -d --name lives --network none --runtime packaged bb sleep 1000 > /dev/null
  pid=$(docker inspect -f '{{.State.Pid}}' lives)
  eq "$(docker exec lives echo hello)" hello "exec"
  dpkg -i "$new" > /dev/null
  eq "$(docker inspect -f '{{.State.Pid}}' lives)" "$pid" "the container after the upgrade"
  eq "$(docker exec lives echo again)" again "exec after the upgrade"
  docker pause lives > /dev/null; docker unpause lives > /dev/null
  dpkg --remove rt-oci-runtime > /dev/null
  [[ ! -e /usr/sbin/rt ]] || fail "the program is still there"
  kill -0 "$pid" || fail "the container ended with the package"
  dpkg -i "$old" > /dev/null
  docker rm -f lives > /dev/null
  if kill -0 "$pid" 2> /dev/null; then fail "the container is still there"; fi
  dpkg --purge rt-oci-runtime > /dev/null
  eq "$(outside "$T/before" | grep -v '^/var/lib/\(docker\|containerd\)/')" "" "files that the package has left, or changed"
}

# What the programs are built from, in a form that scanners read.
test_bill_of_materials() {
  local debs=("$host"/package/*.deb) file=usr/share/doc/rt-oci-runtime/sbom.cdx.json
  dpkg-deb --fsys-tarfile "${debs[0]}" | tar -x -C "$T" "./$file"
  eq "$(jq -r '.bomFormat + " " + .metadata.component.name' "$T/$file")" "CycloneDX rt" "the document"
  eq "$(jq -r '[.components[].name] | contains(["rt-cli", "rt-init", "rt-shim", "rustix", "serde_json"])' "$T/$file")" true "the crates"
  eq "$(jq '[.components[] | select(.licenses == null or (.hashes == null and (.name | startswith("rt-") | not)))] | length' "$T/$file")" 0 \
    "crates without a licence or a checksum"
  # The programs themselves have it, where auditors look.
  dpkg-deb --fsys-tarfile "${debs[0]}" | tar -x -C "$T" ./usr/sbin
  eq "$(crates_in "$T/usr/sbin/rt")" "rt-cli: rt-init rustix serde_json" "what is in rt"
  eq "$(crates_in "$T/usr/sbin/containerd-shim-rt-v1")" "rt-shim: rustix serde_json" "what is in the shim"
}

# crates_in PROGRAM: from its section .dep-v0 the crate that it is built from, and some of those in it.
crates_in() {
  python3 - "$1" <<'PY'
import json, struct, sys, zlib

data = open(sys.argv[1], "rb").read()
start, = struct.unpack_from("<Q", data, 0x28)
size, count, names = struct.unpack_from("<HHH", data, 0x3A)
sections = [struct.unpack_from("<II4Q", data, start + number * size) for number in range(count)]
text = data[sections[names][4]:]
name = lambda section: text[section[0]:].split(b"\0", 1)[0]
_, _, _, _, at, length = next(section for section in sections if name(section) == b".dep-v0")
packages = json.loads(zlib.decompress(data[at:at + length]))["packages"]
root = next(package["name"] for package in packages if package.get("root"))
print(root + ":", *(p["name"] for p in packages if p["name"] in ("rt-init", "rustix", "serde_json")))
PY
}

test_manual_and_completions() {
  local debs=("$host"/package/*.deb)
  dpkg -i "${debs[0]}" > /dev/null
  # The machine's dpkg leaves manual pages out; the package has them.
  has "$(dpkg-deb -c "${debs[0]}")" '/usr/share/man/man8/rt-run\.8\.gz'
  has "$(bash -c '. /usr/share/bash-completion/completions/rt; complete -p rt')" _rt_with_ids
}
