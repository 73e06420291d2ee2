//! The command line.

use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) quick: bool,
    pub(crate) seed: u64,
    /// Empty: all.
    names: Vec<String>,
}

#[derive(Debug)]
pub(crate) enum Asked {
    Run(Options),
    Help(String),
}

impl Options {
    /// The error is a sentence about the mistake.
    pub(crate) fn read(arguments: impl Iterator<Item = String>, known: &[&str]) -> Result<Asked, String> {
        let mut options = Self { quick: false, seed: any_seed(), names: Vec::new() };
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--quick" => options.quick = true,
                "--seed" => {
                    let value = arguments.next().unwrap_or_default();
                    options.seed = value.parse().map_err(|_not_a_number| {
                        format!("--seed wants a number from 0 to {}, not {value:?}", u64::MAX)
                    })?;
                }
                "--help" | "-h" => return Ok(Asked::Help(help(known))),
                flag if flag.starts_with('-') => {
                    return Err(format!("there is no {flag}; there are --quick, --seed N and --help"));
                }
                name if known.contains(&name) => options.names.push(name.to_owned()),
                name => return Err(format!("there is no scenario {name:?}; there are {}", known.join(", "))),
            }
        }
        Ok(Asked::Run(options))
    }

    pub(crate) fn wants(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|wanted| wanted == name)
    }
}

fn help(known: &[&str]) -> String {
    format!(
        "usage: soak [--quick] [--seed N] [scenario…]\n\n\
         --quick   a tenth of the size\n\
         --seed N  the random decisions of an earlier run, which printed N\n\n\
         scenarios, all when none is named: {}",
        known.join(", ")
    )
}

/// Another one each time: what one run does not meet, the next may.
fn any_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::from(now.subsec_nanos()) ^ now.as_secs()
}
