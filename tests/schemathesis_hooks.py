"""What schemathesis must know beyond the API description: what JSON Schema and OpenAPI 3.1 cannot state, and what there is."""

import os
import re
import zlib

import schemathesis

# An execution that is over, and a file that it left: `scripts/schemathesis` has seen to it that they are there.
EXECUTION, _, FILE = os.environ.get("SCHEMATHESIS_EXAMPLE", "").partition("/")
EXECUTION_ID = re.compile(r"exec_[A-Za-z0-9_-]{1,64}")

EVENTS = {
    "started": "StartedEvent",
    "stdout": "OutputEvent",
    "stderr": "OutputEvent",
    "finished": "ExecuteResponse",
}


@schemathesis.hook
def before_load_schema(_context, raw_schema):
    """Says what each event of a stream is. Without it schemathesis takes the text of the whole stream for the schema of one."""
    event = {
        "type": "object",
        "additionalProperties": False,
        "required": ["event", "id", "data"],
        "properties": {
            "event": {"enum": list(EVENTS)},
            "id": {"type": "string", "minLength": 1},
            "data": {"type": "string"},
        },
        "allOf": [
            {
                "if": {"properties": {"event": {"const": name}}},
                "then": {
                    "properties": {
                        "data": {
                            "contentMediaType": "application/json",
                            "contentSchema": {"$ref": f"#/components/schemas/{schema}"},
                        }
                    }
                },
            }
            for name, schema in EVENTS.items()
        ],
    }
    for path in raw_schema["paths"].values():
        for operation in path.values():
            responses = operation.get("responses", {}) if isinstance(operation, dict) else {}
            for response in responses.values():
                media = response.get("content", {}).get("text/event-stream")
                if media is not None:
                    media["schema"] = event


@schemathesis.hook
def map_path_parameters(_context, path_parameters):
    """Half of all made-up executions become the one that is there: made-up ids lead nowhere but to 404."""
    made_up = path_parameters.get("execution_id") if path_parameters else None
    if not EXECUTION or not isinstance(made_up, str) or not EXECUTION_ID.fullmatch(made_up):
        return path_parameters
    # By its text, so that a run can be repeated.
    if zlib.crc32(made_up.encode()) % 2 == 0:
        return path_parameters
    there = {**path_parameters, "execution_id": EXECUTION}
    if "path" in there:
        there["path"] = FILE
    return there


@schemathesis.hook
def filter_body(_context, body):
    """Drops bodies whose `files` name one path twice, or a path beneath another one.

    The daemon refuses them, rightly, and the description says so in words; but a schema cannot compare the elements of a
    list by one of their fields, so such a body looks valid to schemathesis and its 400 like a finding.
    """
    files = body.get("files") if isinstance(body, dict) else None
    if not isinstance(files, list):
        return True
    paths = [file["path"] for file in files if isinstance(file, dict) and isinstance(file.get("path"), str)]
    known = set(paths)
    if len(known) != len(paths):
        return False
    return not any(
        path[:index] in known for path in paths for index, character in enumerate(path) if character == "/"
    )


@schemathesis.hook
def filter_failure(_context, failure, _case, response):
    """Lets a range be refused that begins after the end of its file, and artifacts be gone after their time: a schema does not know how
    long the file is, nor since when it is there."""
    return not (response.status_code in (410, 416) and failure.code == "ST202")
