"""The bill of materials of a binary: CycloneDX 1.5, JSON. The same binary and sources give the same bytes."""

import json
import uuid


def document(version, digest, when, packages):
    """`digest` is the binary's SHA-256, `when` an ISO 8601 time; what is not linked has the scope `excluded`."""
    root = f"pkg:generic/sandbox-executor@{version}"
    needed_by_root = [package.purl for package in packages if package.name == "executor" or package.kind == "generic"]
    return json.dumps({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'sandbox-executor:{digest}')}",
        "version": 1,
        "metadata": {
            "timestamp": when,
            "component": {
                "type": "application",
                "bom-ref": root,
                "name": "sandbox-executor",
                "version": version,
                "purl": root,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
                "hashes": [{"alg": "SHA-256", "content": digest}],
            },
        },
        "components": [component(package) for package in packages],
        "dependencies": [
            {"ref": root, "dependsOn": needed_by_root},
            *({"ref": package.purl, "dependsOn": list(package.dependencies)} for package in packages),
        ],
    }, indent=1) + "\n"


def component(package):
    described = {
        "type": "library",
        "bom-ref": package.purl,
        "name": package.name,
        "version": package.version,
        "scope": "required" if package.linked else "excluded",
        "licenses": [{"expression": package.license}],
        "purl": package.purl,
    }
    if package.checksum:
        described["hashes"] = [{"alg": "SHA-256", "content": package.checksum}]
    return described
