#!/usr/bin/env python3
"""usage: image.py NAME ROOTFS [WORD...] > TAR

The smallest image there can be, in the format of "docker save": one layer, and WORD... as its entrypoint, or a shell.
"""
import hashlib
import io
import json
import platform
import sys
import tarfile

name, rootfs, *words = sys.argv[1:]
layer = io.BytesIO()
with tarfile.open(fileobj=layer, mode="w") as tar:
    tar.add(rootfs, arcname=".")
config = json.dumps({
    "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()], "os": "linux",
    "config": {"Entrypoint": words, "Env": ["PATH=/bin"]} if words else {"Cmd": ["sh"], "Env": ["PATH=/bin"]},
    "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer.getvalue()).hexdigest()]},
}).encode()
manifest = json.dumps([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]).encode()
with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as tar:
    for path, data in ("layer.tar", layer.getvalue()), ("config.json", config), ("manifest.json", manifest):
        info = tarfile.TarInfo(path)
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
