# What docs/engines says is run as it is written: a command that fails, or prints something else than is shown, fails here.

setup() {
  # The directory in which a reader is: a checkout with a release build.
  mkdir -p "$work/checkout/target/x86_64-unknown-linux-musl/release"
  cp -L /usr/local/bin/rt "$work/checkout/target/x86_64-unknown-linux-musl/release/rt"
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
  [[ ! -e $T/rt.conf ]] || mv "$T/rt.conf" /etc/containers/containers.conf.d/
  if [[ -e /home/user/checkout ]]; then
    end_user_session
    rm -rf /home/user/checkout /home/user/.local/bin/rt /home/user/.config/containers
  fi
  rm -f /etc/docker/daemon.json
  systemctl stop docker.service docker.socket containerd.service
}
