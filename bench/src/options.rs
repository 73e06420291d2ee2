//! The command line of `make bench`.

use std::{path::PathBuf, time::Duration};

use clap::Parser;

use crate::{
    parts::Part,
    setup::{Effort, Length, LongRun},
};

/// Measures the daemon against bare bubblewrap
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// Runs per side, workload and concurrency (node takes half of it)
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(10..=5000))]
    runs: u32,
    /// A tenth of the runs: shows that everything works, not how fast it is
    #[arg(long)]
    quick: bool,
    /// Only these parts
    #[arg(long, value_delimiter = ',', value_name = "PART", conflicts_with = "bare_only")]
    only: Vec<Part>,
    /// Only the long part, which is not among the usual ones: what the daemon holds after very many runs
    #[arg(long, conflicts_with_all = ["only", "bare_only"])]
    long: bool,
    /// How many runs the long part does
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(2000..))]
    long_runs: u32,
    /// After so many minutes it stops, and says how far it came
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=1440))]
    long_minutes: u32,
    /// Only bare bubblewrap, without a daemon
    #[arg(long)]
    pub(crate) bare_only: bool,
    /// End with 1 when a target is not met
    #[arg(long)]
    pub(crate) check: bool,
    /// A setting that every daemon gets, whatever the part says: POOL_PYTHON=8 makes the cold ones warm. May be given several times
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = setting)]
    pub(crate) settings: Vec<(String, String)>,
    /// The daemon's binary [default: sandbox-executor beside this program]
    #[arg(long)]
    pub(crate) binary: Option<PathBuf>,
    /// Where the JSON report goes
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/results/latest.json"))]
    pub(crate) output: PathBuf,
    /// The directory where the charts go, one SVG file each; what is not measured is left as it is
    #[arg(long, value_name = "DIRECTORY", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/results"))]
    pub(crate) charts: PathBuf,
}

impl Options {
    pub(crate) fn effort(&self) -> Effort {
        let runs = self.runs as usize;
        let at_most = Duration::from_secs(60 * u64::from(self.long_minutes));
        let long = LongRun { runs: self.long_runs as usize, at_most };
        if self.quick {
            Effort { runs: (runs / 10).max(4), length: Length::Quick, long }
        } else {
            Effort { runs, length: Length::Full, long }
        }
    }

    /// In the order in which they are measured.
    pub(crate) fn parts(&self) -> Vec<Part> {
        match (self.long, self.only.as_slice()) {
            (true, _) => vec![Part::Long],
            (false, []) => Part::usual(),
            (false, some) => some.to_vec(),
        }
    }
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, clap::Error> {
        Options::try_parse_from(std::iter::once("bench").chain(line.split_whitespace()))
    }

    #[test]
    fn parts_are_chosen_by_name_and_all_usual_ones_otherwise() {
        assert_eq!(parse("--only warm,timeouts").unwrap().parts(), [Part::Warm, Part::Timeouts]);
        assert_eq!(parse("").unwrap().parts(), Part::usual());
        assert!(parse("--only nothing").is_err());
    }

    #[test]
    fn the_long_part_runs_when_it_is_asked_for_and_alone() {
        assert_eq!(parse("--long").unwrap().parts(), [Part::Long]);
        assert!(!Part::usual().contains(&Part::Long));
        assert!(parse("--long --only warm").is_err());
    }

    #[test]
    fn a_setting_is_a_name_and_everything_behind_the_first_equals_sign() {
        let options = parse("--set A=1 --set B=x=y").unwrap();
        assert_eq!(options.settings, [("A".to_owned(), "1".to_owned()), ("B".to_owned(), "x=y".to_owned())]);
        assert!(parse("--set A").is_err());
    }
}
