#!/usr/bin/env python3
"""usage: cri.py DIR SOCKET

A client of the Container Runtime Interface, as a kubelet is one. In DIR are cri_pb2.py, which protoc makes of cri.proto, and
two pipes: a line "METHOD JSON" written to DIR/in is a call, and the line read from DIR/out after it the answer, "ok JSON" or
"error CODE: MESSAGE". One process for all calls, because a start of Python costs more than a call.
"""
import sys

import grpc
from google.protobuf import json_format, message_factory

directory, socket = sys.argv[1:]
sys.path.insert(0, directory)
import cri_pb2  # noqa: E402

service = cri_pb2.DESCRIPTOR.services_by_name["RuntimeService"]
classes = message_factory.MessageFactory()
channel = grpc.insecure_channel("unix://" + socket)
grpc.channel_ready_future(channel).result(timeout=60)


def call(line):
    name, _, request = line.partition(" ")
    method = service.methods_by_name[name]
    given, answer = classes.GetPrototype(method.input_type), classes.GetPrototype(method.output_type)
    stub = channel.unary_unary(f"/{service.full_name}/{name}", given.SerializeToString, answer.FromString)
    message = stub(json_format.Parse(request, given()), timeout=120, wait_for_ready=True)
    return json_format.MessageToJson(message, including_default_value_fields=True, preserving_proto_field_name=True, indent=None)


while True:
    with open(directory + "/in", encoding="utf-8") as pipe:
        line = pipe.read()
    try:
        reply = "ok " + call(line)
    except grpc.RpcError as e:
        reply = f"error {e.code().name}: {e.details()}"
    except (KeyError, json_format.ParseError) as e:
        reply = f"error in the test: {e!r}"
    with open(directory + "/out", "w", encoding="utf-8") as pipe:
        print(reply.replace("\n", " "), file=pipe)
