//! "Did you mean": the known name that is nearest to one that is not known.

/// Longer names are not typing mistakes, and measuring them would cost time that the sender decides about.
const LONGEST_COMPARED: usize = 64;

pub(super) fn nearest<'known>(
    name: &str,
    known: impl IntoIterator<Item = &'known str>,
) -> Option<&'known str> {
    if name.len() > LONGEST_COMPARED {
        return None;
    }
    let name = name.trim().to_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|candidate| (distance(&name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// A name that is the beginning of the other counts as one mistake: `memory` for `memory_mb`, `python3` for `python`.
fn distance(name: &str, candidate: &str) -> usize {
    let beginning = name.len() >= 2 && (candidate.starts_with(name) || name.starts_with(candidate));
    let typed = strsim::damerau_levenshtein(name, candidate);
    if beginning { typed.min(1) } else { typed }
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn the_nearest_name_is_found_and_a_far_one_is_not() {
        let known = ["code", "language", "timeout", "env_vars", "memory_mb"];
        for (name, expected) in [
            ("tiemout", Some("timeout")),
            ("Language", Some("language")),
            ("env", Some("env_vars")),
            ("env-vars", Some("env_vars")),
            ("memory", Some("memory_mb")),
            ("timeout_seconds", Some("timeout")),
            ("frobnicate", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(nearest(name, known), expected, "{name}");
        }
        assert_eq!(nearest(&"timeout".repeat(100_000), known), None);
    }
}
