//! What a file is, by its extension alone. The content is never looked at: it is hostile, and large.
//!
//! | extension (any case) | kind |
//! |---|---|
//! | `log` `err` `trace` | `log` |
//! | `csv` `json` `jsonl` `md` `ndjson` `out` `tsv` `txt` `xml` `yaml` `yml` | `output`: results people read as text |
//! | anything else, and none | `artifact` |

use std::path::Path;

use super::record::ArtifactKind;

const LOGS: [&str; 3] = ["log", "err", "trace"];
const OUTPUTS: [&str; 11] =
    ["csv", "json", "jsonl", "md", "ndjson", "out", "tsv", "txt", "xml", "yaml", "yml"];

pub(super) fn kind(path: &Path) -> ArtifactKind {
    let Some(extension) = path.extension().and_then(|extension| extension.to_str()) else {
        return ArtifactKind::Artifact;
    };
    let is_among = |known: &[&str]| known.iter().any(|known| known.eq_ignore_ascii_case(extension));
    if is_among(&LOGS) {
        ArtifactKind::Log
    } else if is_among(&OUTPUTS) {
        ArtifactKind::Output
    } else {
        ArtifactKind::Artifact
    }
}

pub(super) fn mime_type(path: &Path) -> String {
    mime_guess::from_path(path).first_or_octet_stream().essence_str().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_alone_decides_the_kind_and_the_type() {
        for (path, expected_kind, expected_type) in [
            ("run.log", ArtifactKind::Log, "text/plain"),
            ("a/RUN.LOG", ArtifactKind::Log, "text/plain"),
            ("x.trace", ArtifactKind::Log, "application/octet-stream"),
            ("result.json", ArtifactKind::Output, "application/json"),
            ("rows.csv", ArtifactKind::Output, "text/csv"),
            ("plot.png", ArtifactKind::Artifact, "image/png"),
            ("archive.tar.gz", ArtifactKind::Artifact, "application/gzip"),
            ("no-extension", ArtifactKind::Artifact, "application/octet-stream"),
            ("a.log/b", ArtifactKind::Artifact, "application/octet-stream"),
            ("ends-with-dot.", ArtifactKind::Artifact, "application/octet-stream"),
        ] {
            assert_eq!(kind(Path::new(path)), expected_kind, "{path}");
            assert_eq!(mime_type(Path::new(path)), expected_type, "{path}");
        }
    }
}
