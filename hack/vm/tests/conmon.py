#!/usr/bin/env python3
"""Runs conmon with the pipes that CRI-O gives it, and talks to its attach socket.

usage: conmon.py run ARGUMENT...       conmon's own arguments; prints each message of the sync pipe, to its end for an exec
       conmon.py attach SOCKET TEXT    sends TEXT as standard input, prints packets ("2 text": 2 is stdout, 3 stderr) up to one with it
"""
import os
import socket
import subprocess
import sys


def run(arguments):
    sync, their_sync = os.pipe()
    their_start, start = os.pipe()
    for fd in their_sync, their_start:
        os.set_inheritable(fd, True)
    child = subprocess.Popen(["conmon", *arguments], pass_fds=(their_sync, their_start), stdin=subprocess.DEVNULL,
                             env=dict(os.environ, _OCI_SYNCPIPE=str(their_sync), _OCI_STARTPIPE=str(their_start)))
    os.close(their_sync)
    os.close(their_start)
    # What CRI-O does before this is to move conmon to its own cgroup.
    os.write(start, b"\0")
    with os.fdopen(sync) as messages:
        print(messages.readline().strip(), flush=True)
        if "-e" in arguments:
            print(messages.read().strip())
    child.wait(60)


def attach(path, text):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(60)
    s.connect(path)
    s.send(text.encode() + b"\n")
    while packet := s.recv(8192):
        print(packet[0], packet[1:].rstrip(b"\0").decode().rstrip())
        if text.encode() in packet:
            break


{"run": lambda rest: run(rest), "attach": lambda rest: attach(*rest)}[sys.argv[1]](sys.argv[2:])
