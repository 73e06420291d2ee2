//! The numbers of `openapi/executor-api.yaml` against those that `intake` enforces.

use executor::intake::{Ceilings, bounds};
use serde_json::Value;

#[test]
fn the_bounds_of_the_document_are_those_of_intake() {
    let document: Value = serde_saphyr::from_str(include_str!("../../openapi/executor-api.yaml")).unwrap();
    let ceilings = Ceilings::default();
    let mib = |bytes: sandbox::limits::Bytes| bytes.as_mib() as f64;
    for (place, expected) in [
        ("ExecuteRequest/properties/code/maxLength", bounds::CODE_BYTES as f64),
        ("ExecuteRequest/properties/timeout/minimum", bounds::TIMEOUT_MINIMUM),
        ("ExecuteRequest/properties/timeout/maximum", bounds::TIMEOUT_MAXIMUM),
        ("ExecuteRequest/properties/timeout/default", bounds::TIMEOUT_DEFAULT),
        ("ExecuteRequest/properties/env_vars/maxProperties", bounds::ENV_VARS as f64),
        ("ExecuteRequest/properties/files/maxItems", bounds::FILES as f64),
        ("InputFile/properties/path/maxLength", bounds::PATH_BYTES as f64),
        ("RequestLimits/properties/memory_mb/minimum", bounds::MEMORY_MB_MINIMUM as f64),
        ("RequestLimits/properties/memory_mb/maximum", mib(ceilings.memory)),
        ("RequestLimits/properties/cpu_seconds/minimum", bounds::CPU_SECONDS_MINIMUM),
        ("RequestLimits/properties/cpu_seconds/maximum", bounds::CPU_SECONDS_MAXIMUM),
        ("RequestLimits/properties/max_processes/minimum", bounds::PROCESSES_MINIMUM as f64),
        ("RequestLimits/properties/max_processes/maximum", f64::from(ceilings.processes)),
        ("RequestLimits/properties/max_open_files/minimum", bounds::OPEN_FILES_MINIMUM as f64),
        ("RequestLimits/properties/max_open_files/maximum", f64::from(ceilings.open_files)),
        ("RequestLimits/properties/max_file_mb/minimum", bounds::FILE_MB_MINIMUM as f64),
        ("RequestLimits/properties/max_file_mb/maximum", mib(ceilings.file_size)),
        ("RequestLimits/properties/max_output_bytes/minimum", bounds::OUTPUT_BYTES_MINIMUM as f64),
        ("RequestLimits/properties/max_output_bytes/maximum", ceilings.output.0 as f64),
    ] {
        let stated = document.pointer(&format!("/components/schemas/{place}")).unwrap();
        assert_eq!(stated.as_f64(), Some(expected), "{place}");
    }
}
