//! The names of log events. A line's message is one of these; everything else is a field.
//!
//! Names are part of what operators search for: they are not changed, only added. `docs/log-events.md` lists them.

/// One event, as the documentation lists it.
#[derive(Debug)]
pub struct Event {
    pub name: &'static str,
    pub level: &'static str,
    /// Besides timestamp, level, container_id and the ids of the span.
    pub fields: &'static [&'static str],
    pub meaning: &'static str,
}

macro_rules! events {
    ($($constant:ident = $name:literal, $level:literal, [$($field:literal),*], $meaning:literal;)*) => {
        $(pub const $constant: &str = $name;)*
        /// Every event, in the order of the documentation.
        pub const ALL: &[Event] = &[$(Event {
            name: $name,
            level: $level,
            fields: &[$($field),*],
            meaning: $meaning,
        }),*];
    };
}

events! {
    EXECUTION_STARTED = "execution_started", "info", ["language", "place"], "the program was handed to its sandbox";
    EXECUTION_COMPLETED = "execution_completed", "info", [
        "language", "place", "sandbox", "status", "cause", "exit_code", "limit", "observed",
        "duration_ms", "cpu_time_ms", "peak_memory_mb", "io_read_bytes", "io_write_bytes",
        "queue_ms", "prepare_ms", "start_ms", "collect_ms", "journal_ms",
        "stdout_bytes", "stdout_truncated", "stderr_bytes", "stderr_truncated",
        "artifacts", "artifacts_truncated", "callback"
    ], "a run is over, whatever the program did";
    EXECUTION_FAILED = "execution_failed", "error", ["stage", "error"],
        "we could not run the program; with the fields of `execution_completed`";
    EXECUTION_REFUSED = "execution_refused", "info", ["error_code", "reason"], "a request was not admitted";
    CALLBACK_DELIVERED = "callback_delivered", "info", ["attempts", "http_status"], "the control plane has the result";
    CALLBACK_DEFERRED = "callback_deferred", "warn", ["attempts", "error", "retry_in_ms", "suppressed"],
        "a delivery failed and will be tried again";
    CALLBACK_SET_ASIDE = "callback_set_aside", "error", ["http_status", "error"],
        "the control plane will not take this result, or its file is damaged; it is kept for a person to look at";
    CALLBACK_LET_GO = "callback_let_go", "error", ["reason", "error"],
        "a result was never delivered and is gone: it was too old, or there was no room for it";
    JOURNAL_FAILED = "journal_failed", "error", ["path", "error"],
        "RESULTS_DIR cannot be written to: results are delivered only as long as the daemon lives";
    OUTBOX_TAKEN_OVER = "outbox_taken_over", "info", ["pending", "crashed"],
        "results of an earlier daemon wait in RESULTS_DIR and are delivered now; that many of its runs died with it";
    STRAYS_ENDED = "strays_ended", "warn", ["count"],
        "processes of sandboxes that an earlier daemon did not live to finish building were ended";
    FOREIGN_FILES = "foreign_files", "warn", ["count", "example"],
        "RESULTS_DIR holds files that are not results; they are left alone";
    TOKEN_NOT_RENEWED = "token_not_renewed", "warn", ["error"],
        "the control plane refused the token, and its file could not be read again; the old one stays in use";
    READY_REPORTED = "ready_reported", "info", ["attempts"], "the control plane knows that this container is ready";
    READY_DEFERRED = "ready_deferred", "warn", ["error", "retry_in_ms"],
        "the control plane could not be told that this container is ready; it will be told again";
    EXIT_REPORTED = "exit_reported", "info", [], "the control plane knows that this container is gone";
    EXIT_UNREPORTED = "exit_unreported", "warn", ["error"],
        "the control plane could not be told that this container is gone";
    LIFECYCLE_CHANGED = "lifecycle_changed", "info", ["from", "to", "reason"], "the daemon starts, serves, drains or ends";
    HEARTBEAT_MISSED = "heartbeat_missed", "warn", ["error", "suppressed"], "a heartbeat did not arrive; the run goes on";
    CLEANUP_FAILED = "cleanup_failed", "error", ["path", "error"], "something of a run is left behind";
    DOWNLOAD_BROKEN_OFF = "download_broken_off", "warn", ["execution_id", "error"],
        "an artifact changed while it was sent: the connection was closed, so that nobody takes what was sent for the whole";
    DOWNLOAD_FAILED = "download_failed", "error", ["execution_id", "error"],
        "an artifact could not be read, and it is not the program's doing";
    SERVER_LISTENING = "server_listening", "info", ["address", "max_connections"], "connections are accepted";
    ACCEPT_FAILED = "accept_failed", "warn", ["error", "suppressed"],
        "a connection could not be accepted, often for want of file descriptors";
    CONNECTION_PANICKED = "connection_panicked", "error", ["error"], "an answer was lost to a bug in the daemon";
    RUNS_ABANDONED = "runs_abandoned", "warn", ["count"], "runs had not ended when the daemon did; they die with it";
    CONNECTIONS_DROPPED = "connections_dropped", "warn", ["count"], "answers were not finished when the grace period ended";
    ISOLATION_REDUCED = "isolation_reduced", "warn", ["missing"],
        "this host cannot give everything; what is in force is in /health";
    POOL_NOT_FILLED = "pool_not_filled", "warn", ["language", "place", "error"],
        "a sandbox could not be prepared ahead, or died while it waited; it is tried again, and runs prepare their own meanwhile";
    FORK_SERVER_UNAVAILABLE = "fork_server_unavailable", "warn", ["error"],
        "there is no fork server for Python: bubblewrap builds every sandbox, which takes longer; one that had been there is tried again";
    FORK_SERVER_RETIRED = "fork_server_retired", "warn", ["reason"],
        "the fork server failed, or its interpreter was replaced: another takes its place, and bubblewrap builds meanwhile";
    API_UNPROTECTED = "api_unprotected", "warn", ["host"],
        "EXECUTOR_API_TOKEN is not set and the address is not loopback: anybody who reaches it can run code";
    PANICKED = "panicked", "error", ["location", "thread", "panic"], "a bug in the daemon; the task that met it is gone";
    SPANS_NOT_EXPORTED = "spans_not_exported", "warn", ["error", "suppressed"],
        "the collector did not take spans of runs; it gets the next ones, and these may be lost";
    LIBRARY_MESSAGE = "library_message", "warn", ["library", "message"], "said by a library, in its own words";
}

/// There are as many of these as there are runs, which slots bound; each tells what no other line does.
pub(super) fn is_of_one_run(event: &str) -> bool {
    [EXECUTION_STARTED, EXECUTION_COMPLETED, EXECUTION_FAILED, CALLBACK_DELIVERED].contains(&event)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_documentation_lists_every_event_and_no_other() {
        let document = include_str!("../../../docs/log-events.md");
        let documented: BTreeSet<String> =
            document.lines().filter(|line| line.starts_with("| `")).map(str::to_owned).collect();
        let known: BTreeSet<String> = ALL.iter().map(row).collect();
        let missing: Vec<_> = known.difference(&documented).collect();
        let unknown: Vec<_> = documented.difference(&known).collect();
        assert!(missing.is_empty() && unknown.is_empty(), "add:\n{missing:#?}\ntake away:\n{unknown:#?}");
    }

    fn row(event: &Event) -> String {
        let fields: Vec<String> = event.fields.iter().map(|field| format!("`{field}`")).collect();
        format!("| `{}` | {} | {} | {} |", event.name, event.level, fields.join(", "), event.meaning)
    }

    #[test]
    fn names_are_unique_words_in_snake_case() {
        let names: BTreeSet<_> = ALL.iter().map(|event| event.name).collect();
        assert_eq!(names.len(), ALL.len());
        assert!(names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')));
    }
}
