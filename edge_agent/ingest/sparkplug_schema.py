"""The message types of Sparkplug B 3.0 (chapter 6 of the specification) for the protobuf library.

They stand in a pool of their own, so that they never meet another definition of the same messages in this process.
"""

from typing import Any, Final

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

_PACKAGE: Final = "smallhold.sparkplug"
_SCALARS: Final = {
    "bool": FieldDescriptorProto.TYPE_BOOL,
    "bytes": FieldDescriptorProto.TYPE_BYTES,
    "double": FieldDescriptorProto.TYPE_DOUBLE,
    "float": FieldDescriptorProto.TYPE_FLOAT,
    "string": FieldDescriptorProto.TYPE_STRING,
    "uint32": FieldDescriptorProto.TYPE_UINT32,
    "uint64": FieldDescriptorProto.TYPE_UINT64,
}
_MESSAGES: Final = {
    "Payload": "timestamp uint64 1; metrics Metric* 2; seq uint64 3; uuid string 4; body bytes 5",
    "Metric": (
        "name string 1; alias uint64 2; timestamp uint64 3; datatype uint32 4; is_historical bool 5; is_transient bool 6; "
        "is_null bool 7; properties PropertySet 9; int_value uint32 10; long_value uint64 11; float_value float 12; "
        "double_value double 13; boolean_value bool 14; string_value string 15; bytes_value bytes 16; "
        "dataset_value DataSet 17; template_value Template 18; extension_value Extension 19"
    ),
    "PropertySet": "keys string* 1; values PropertyValue* 2",
    "PropertyValue": (
        "type uint32 1; is_null bool 2; int_value uint32 3; long_value uint64 4; float_value float 5; double_value double 6; "
        "boolean_value bool 7; string_value string 8; propertyset_value PropertySet 9; propertysets_value PropertySetList 10; "
        "extension_value Extension 11"
    ),
    "PropertySetList": "propertyset PropertySet* 1",
    "DataSet": "num_of_columns uint64 1; columns string* 2; types uint32* 3; rows Row* 4",
    "Row": "elements Cell* 1",
    "Cell": (
        "int_value uint32 1; long_value uint64 2; float_value float 3; double_value double 4; boolean_value bool 5; "
        "string_value string 6; extension_value Extension 7"
    ),
    "Template": "version string 1; metrics Metric* 2; parameters Parameter* 3; template_ref string 4; is_definition bool 5",
    "Parameter": (
        "name string 1; type uint32 2; int_value uint32 3; long_value uint64 4; float_value float 5; double_value double 6; "
        "boolean_value bool 7; string_value string 8; extension_value Extension 9"
    ),
    "Extension": "",
}
"""Message to its fields: name, type (`*`: repeated) and number. The fields that end in `_value` are alternatives.

The `metadata` of a metric, which describes files, is left out and so skipped unparsed.
"""


def _describe() -> FileDescriptorProto:
    file = FileDescriptorProto(name="sparkplug.proto", package=_PACKAGE, syntax="proto2")
    for message, fields in _MESSAGES.items():
        described = file.message_type.add(name=message)
        for text in filter(None, fields.split("; ")):
            name, kind, number = text.split()
            field = described.field.add(name=name, number=int(number))
            field.label = FieldDescriptorProto.LABEL_REPEATED if kind.endswith("*") else FieldDescriptorProto.LABEL_OPTIONAL
            kind = kind.removesuffix("*")
            if kind in _SCALARS:
                field.type = _SCALARS[kind]
            else:
                field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
            if name.endswith("_value"):
                field.oneof_index = 0
                if not described.oneof_decl:
                    described.oneof_decl.add(name="value")
    return file


def _classes() -> dict[str, Any]:
    pool = DescriptorPool()
    pool.Add(_describe())
    return {name: GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _MESSAGES}


_CLASSES: Final = _classes()
Payload: Final[Any] = _CLASSES["Payload"]
"""The class of a whole payload; the others are reached through its fields."""
