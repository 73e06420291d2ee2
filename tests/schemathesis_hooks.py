"""What schemathesis must know beyond the API description: the one rule that JSON Schema cannot state."""

import schemathesis


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
