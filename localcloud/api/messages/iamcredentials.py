"""Messages of google.iam.credentials.v1, with the REST-only fields that google-auth sends."""

from __future__ import annotations

from typing import Any

from google.cloud import iam_credentials_v1
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

FIELD = descriptor_pb2.FieldDescriptorProto
USE_EMAIL_AZP = 101  # over gRPC nobody sends it: the number only must not be in use


def __getattr__(name: str) -> Any:
    """The protobuf class of a message; proto-plus makes them while running, so mypy sees Any."""
    return getattr(iam_credentials_v1, name).pb()


def _with_azp() -> Any:
    """GenerateIdTokenRequest with `useEmailAzp`, which the REST API has and the wheel's message lacks."""
    message = descriptor_pb2.DescriptorProto()
    iam_credentials_v1.GenerateIdTokenRequest.pb().DESCRIPTOR.CopyToProto(message)
    for field in message.field:
        field.ClearField("options")  # they refer to files that are not needed here
    message.field.add(
        name="use_email_azp", number=USE_EMAIL_AZP, type=FIELD.TYPE_BOOL, label=FIELD.LABEL_OPTIONAL
    ).json_name = "useEmailAzp"
    file = descriptor_pb2.FileDescriptorProto(
        name="localcloud/iam_credentials.proto", package="localcloud.iam.credentials.v1", syntax="proto3"
    )
    file.message_type.append(message)
    pool = descriptor_pool.Default()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{file.package}.{message.name}"))


GenerateIdTokenRequest: Any = _with_azp()
