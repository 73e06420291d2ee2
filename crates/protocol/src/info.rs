//! `GET /info`: what this daemon is, what it runs, and the limits that are in force.

use serde::{Deserialize, Serialize};

use crate::{IsolationState, Language};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Info {
    pub version: String,
    pub platform: Platform,
    pub isolation: IsolationState,
    pub languages: Vec<LanguageVersion>,
    pub limits: LimitsInForce,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    pub os: String,
    pub arch: String,
    pub kernel: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LanguageVersion {
    pub language: Language,
    pub version: String,
    /// Of the interpreter, inside the sandbox.
    pub path: String,
}

/// The first seven can be asked for per request; the others are the same for every run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LimitsInForce {
    pub timeout_seconds: LimitRange<f64>,
    pub cpu_seconds: LimitRange<f64>,
    pub memory_mb: LimitRange<u64>,
    pub max_processes: LimitRange<u64>,
    pub max_open_files: LimitRange<u64>,
    pub max_file_mb: LimitRange<u64>,
    pub max_output_bytes: LimitRange<u64>,
    pub max_tmp_mb: u64,
    pub max_code_bytes: u64,
    pub max_request_bytes: u64,
    pub max_event_depth: u64,
    pub max_env_vars: u64,
    pub max_env_bytes: u64,
    pub max_files: u64,
    /// Executions that run side by side, and those that may wait.
    pub concurrency: u64,
    pub queue: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LimitRange<T> {
    pub minimum: T,
    /// Null: not limited unless the request asks for it.
    pub default: Option<T>,
    pub ceiling: T,
}
