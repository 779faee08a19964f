# What docs/engines says is run as it is written: a command that fails, or prints something else than is shown, fails here.

setup() {
  # The directory in which a reader is: a checkout with a release build.
  mkdir -p "$work/checkout/target/x86_64-unknown-linux-musl/release"
  cp -L /usr/local/bin/{rt,containerd-shim-rt-v1} "$work/checkout/target/x86_64-unknown-linux-musl/release/"
  install -D "$host/rt-debug" "$work/checkout/hack/rt-debug"
}

# doc FILE [SECTION...]: runs a document of docs/engines, see doc.py.
doc() {
  local file=$1; shift
  (cd "$work/checkout"; python3 "$host/tests/doc.py" "$host/docs/engines/$file" "$@")
}

# The other tests here are blind if this one does not find its four faults.
test_a_doc_that_rots_fails() {
  local text='```'
  printf '%s\n' '# A' "${text}sh" 'echo one; echo two; echo 3 >&2' "$text" '' "${text}text" 'o…e' '…' '3' "$text" \
    '# B' "${text}sh exit=3" 'false || exit 3' "$text" '# C' "${text}sh" 'echo one' "$text" "${text}text" 'two' "$text" \
    '# D' "${text}sh" 'false; true' "$text" '# E' 'prose' > "$T/doc.md"
  local doc="python3 $host/tests/doc.py $T/doc.md"
  status 0 $doc A B
  has "$out" ": 2 blocks" "what ran"
  fails $doc C
  has "$out" "doc.md:1[0-9]: the document shows" "wrong output"
  fails $doc D
  has "$out" "status 1, not 0" "a command that fails"
  fails $doc E
  fails $doc F
  has "$out" "no section F" "a section that is gone"
}

test_docker() {
  systemctl start docker.service
  tar -C $bb -c . | docker import - busybox > /dev/null
  doc docker.md
  docker image rm busybox > /dev/null
  systemctl stop docker.service docker.socket containerd.service
}

test_containerd() {
  systemctl start containerd.service
  python3 "$host/tests/image.py" docker.io/library/busybox:latest $bb | ctr image import - > /dev/null
  cp /etc/containerd/config.toml "$work/config.toml"
  doc containerd.md
  diff <(grep . "$work/config.toml") <(grep . /etc/containerd/config.toml) || fail "the roll back leaves something"
  ctr image rm docker.io/library/busybox:latest > /dev/null
}

test_shim() {
  systemctl start docker.service
  tar -C $bb -c . | docker import - busybox > /dev/null
  systemctl stop docker.service docker.socket
  systemctl start containerd.service
  python3 "$host/tests/image.py" docker.io/library/busybox:latest $bb | ctr image import - > /dev/null
  cp /etc/containerd/config.toml "$work/config.toml"
  doc shim.md
  diff <(grep . "$work/config.toml") <(grep . /etc/containerd/config.toml) || fail "the roll back leaves something"
  ctr image rm docker.io/library/busybox:latest > /dev/null
  docker image rm busybox > /dev/null
}

# There is no cluster: the manifests are read, and name the handler that the page on containerd makes.
test_kubernetes() {
  python3 - "$host/docs/engines" <<'END'
import re, sys, yaml
page = lambda name: open(f"{sys.argv[1]}/{name}.md", encoding="utf-8").read()
runtime_class, pod = [yaml.safe_load(text) for text in re.findall("```yaml\n(.*?)```", page("kubernetes"), re.S)]
handlers = set(re.findall("containerd\.runtimes\.([a-z]+)\]", page("containerd")))
assert (runtime_class["apiVersion"], runtime_class["kind"]) == ("node.k8s.io/v1", "RuntimeClass"), runtime_class
assert handlers == {runtime_class["handler"]}, handlers
assert (pod["apiVersion"], pod["kind"]) == ("v1", "Pod") and pod["spec"]["containers"][0]["command"], pod
assert pod["spec"]["runtimeClassName"] == runtime_class["metadata"]["name"], pod
END
}

# For root, and for an ordinary user with a systemd session, in whose home the checkout then is.
test_podman() {
  tar -C $bb -c . | podman import - busybox > /dev/null
  mv /etc/containers/containers.conf.d/rt.conf "$T/"
  doc podman.md "For every user" Verify "When a container does not start" "Roll back" "Of every user"
  podman rmi busybox > /dev/null
}

test_podman_user() {
  mv /etc/containers/containers.conf.d/rt.conf "$T/"
  cp -r "$work/checkout" /home/user/checkout
  chown -R user: /home/user/checkout
  runuser -l user -c "set -e; tar -C $bb -c . | podman import - busybox > /dev/null
    cd checkout; python3 $host/tests/doc.py $host/docs/engines/podman.md \
      'For one user' Verify 'When a container does not start' 'Roll back' 'Of one user'
    podman rmi busybox > /dev/null"
}

cleanup() {
  install "$work"/checkout/target/x86_64-unknown-linux-musl/release/{rt,containerd-shim-rt-v1} /usr/local/bin/
  [[ ! -e $T/rt.conf ]] || mv "$T/rt.conf" /etc/containers/containers.conf.d/
  if [[ -e /home/user/checkout ]]; then
    end_user_session
    rm -rf /home/user/checkout /home/user/.local/bin/rt /home/user/.config/containers
  fi
  rm -f /etc/docker/daemon.json
  if [[ -e $work/config.toml ]]; then cp "$work/config.toml" /etc/containerd/config.toml; fi
  systemctl stop docker.service docker.socket containerd.service
  # containerd's directory above the cgroups of its namespace "default", which no runtime removes.
  rmdir /sys/fs/cgroup/default 2> /dev/null || :
}
