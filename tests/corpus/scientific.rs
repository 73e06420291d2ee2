//! Numbers, tables and figures: large libraries in C and Fortran, with threads of their own.

use serde_json::json;

use crate::program::{Need, program};

#[test]
fn numpy_solves_with_the_threads_of_openblas() {
    program!("numpy.py")
        .needs(Need::Module("numpy"))
        .answers(json!({
            "openblas": true,
            "threads": true,
            "trace": 1803.0,
            "hilbert": "2.7371e-33",
            "solved": true,
            "eigen": true,
            "svd": true,
            "fft": [0.0, 0.0, 0.0, 8.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            "integers": [8, 77, 65, 43, 43],
            "mersenne": [51, 92, 14, 71, 60],
            "mean": true,
            "zip": true,
            "mapped": 1_079_994.0,
            "entropy": 3,
        }))
        .check();
}

#[test]
fn pandas_reads_back_what_it_wrote_and_groups_it() {
    program!("pandas.py")
        .needs(Need::Module("pandas"))
        .answers(json!({
            "same": true,
            "sum": { "Oslo": 199_800, "Rom": 199_400, "Łódź": 100_300 },
            "mean": { "Oslo": 124.875, "Rom": 124.625, "Łódź": 125.375 },
            "unknown": 200,
            "people": 1_400_000_000,
            "pivot": [31, 3],
            "weekly": [14_028, 42_252, 70_476, 98_700, 126_924, 147_120],
            "rolling": 248.625,
            "local": "2024-01-01T01:00:00+01:00",
            "summer": "2024-06-30T20:00:00-04:00",
        }))
        .check();
}

#[test]
fn scipy_optimises_transforms_and_integrates() {
    program!("scipy.py")
        .needs(Need::Module("scipy"))
        .answers(json!({
            "rosen": [1.0, 1.0, 1.0, 1.0, 1.0],
            "root": 1.25992105,
            "plan": [3.0, 1.0],
            "det": 18.0,
            "lu": true,
            "exponential": 0.540302306,
            "peak": 50,
            "there_and_back": true,
            "area": 1.772453851,
            "orbit": [1.0, 0.0],
            "middle": 125_250.0,
            "spline": 20.25,
            "order": 5,
            "quantile": 1.959964,
        }))
        .check();
}

#[test]
fn matplotlib_draws_and_its_figures_are_artifacts() {
    let results = program!("matplotlib.py")
        .needs(Need::Module("matplotlib"))
        .answers(json!({ "backend": "agg", "shape": [400, 800, 4], "drawn": true, "signature": "89504e470d0a1a0a" }))
        .check();
    for result in results {
        let artifacts = result["artifacts"].as_array().unwrap();
        let artifact = |path: &str| artifacts.iter().find(|artifact| artifact["path"] == path).unwrap();
        assert_eq!(artifact("figure.png")["mime_type"], "image/png", "{result:#}");
        assert_eq!(artifact("figure.svg")["mime_type"], "image/svg+xml", "{result:#}");
        assert!(artifact("figure.png")["size"].as_u64().unwrap() > 10_000, "{result:#}");
    }
}
