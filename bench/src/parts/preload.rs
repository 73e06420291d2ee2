//! What an import costs with and without `PRELOAD_PYTHON`. Left out, and said so, where the daemon refuses the setting or where
//! it changes nothing: asked of the daemon itself, not of its version.

use serde_json::{Value, json};

use super::costs::at_rest;
use crate::{
    charts::{Axis, Chart, Line},
    client::Client,
    daemon::{Daemon, pool::Pool, settings::Settings},
    error::{BenchError, Result, doing},
    load::{Side, closed::Quota},
    report::{Measured, table::Table},
    setup::Setup,
    stats::{SUMMARY_HEAD, Summary},
    workloads::sized::{finds_loaded, imports},
};

const SETTING: &str = "PRELOAD_PYTHON";
const POOL: usize = 4;
const SETS: [&[&str]; 4] = [&[], &["json"], &["json", "asyncio"], &["json", "numpy"]];

pub(super) fn measure(setup: &Setup<'_>, measured: &mut Measured) -> Result<()> {
    let plain = setup.daemon(Settings::waiting("nothing preloaded", "POOL_PYTHON", POOL))?;
    if let Some(why) = why_not(setup, &plain)? {
        measured.notes.push(format!("preloaded modules are left out: {why}"));
        return Ok(());
    }
    measured.daemons.push(plain.settings.clone());
    let mut lines = [Line::new("imported by the program", []), Line::new("preloaded", [])];
    let mut table = Table::new(["imports, warm python, ms", "preloaded"].into_iter().chain(SUMMARY_HEAD));
    for (number, modules) in SETS.iter().enumerate() {
        let name = if modules.is_empty() { "nothing".to_owned() } else { modules.join(",") };
        let imported = match of(setup, &plain, modules) {
            Err(BenchError::WrongWork { .. }) => {
                measured.notes.push(format!("{name}: left out, a sandbox cannot import it here"));
                continue;
            }
            measured => measured?,
        };
        row(&mut table, measured, number, (&name, "no"), &imported);
        lines[0].points.push((number as f64, imported.p50_ms));
        if !modules.is_empty() {
            let settings = Settings::waiting("preloaded", "POOL_PYTHON", POOL).with(SETTING, &name);
            let daemon = setup.daemon(settings)?;
            measured.daemons.push(daemon.settings.clone());
            if let Some(missing) = missing(&daemon, modules)? {
                measured.notes.push(format!("{name}: left out, {missing} was not loaded beforehand"));
                continue;
            }
            let preloaded = of(setup, &daemon, modules)?;
            row(&mut table, measured, number, (&name, "yes"), &preloaded);
            lines[1].points.push((number as f64, preloaded.p50_ms));
        }
    }
    let names: Vec<String> =
        SETS.iter().enumerate().skip(1).map(|(number, set)| format!("{number}: {}", set.join(","))).collect();
    measured.charts.push(Chart {
        file: "cost-imported-modules".to_owned(),
        title: "A warm Python run against: modules it imports".to_owned(),
        x: Axis::linear(format!("0: none; {}", names.join("; "))),
        y: Axis::linear("p50, ms"),
        lines: lines.into(),
    });
    measured.tables.push(table);
    Ok(())
}

fn of(setup: &Setup<'_>, daemon: &Daemon, modules: &[&str]) -> Result<Summary> {
    let workload = imports(modules);
    Side::cold(daemon, 1)?.closed(&workload, Quota::Runs(1))?;
    at_rest(setup, &Pool::of(daemon)?, &workload)
}

/// Why there is nothing to measure: in a sandbox that waited, the module has to be there before the program asks for it.
fn why_not(setup: &Setup<'_>, plain: &Daemon) -> Result<Option<String>> {
    let probe = "json";
    if is_loaded(plain, probe)? {
        return Ok(Some(format!("{probe} is loaded without {SETTING}, so nothing can be told apart")));
    }
    let settings = Settings::waiting("probe", "POOL_PYTHON", POOL).with(SETTING, probe);
    let daemon = match setup.daemon(settings) {
        Ok(daemon) => daemon,
        Err(BenchError::NotReady { .. }) => {
            return Ok(Some(format!("the daemon does not start with {SETTING}={probe}")));
        }
        Err(error) => return Err(error),
    };
    if is_loaded(&daemon, probe)? {
        return Ok(None);
    }
    Ok(Some(format!("this daemon does not know {SETTING}; with it set, {probe} was not loaded beforehand")))
}

/// The first that is not there before a program asks for it.
fn missing<'a>(daemon: &Daemon, modules: &[&'a str]) -> Result<Option<&'a str>> {
    for module in modules {
        if !is_loaded(daemon, module)? {
            return Ok(Some(module));
        }
    }
    Ok(None)
}

fn is_loaded(daemon: &Daemon, module: &str) -> Result<bool> {
    let mut client = Client::connect(daemon.address).map_err(doing("connect to the daemon"))?;
    let request = finds_loaded(module);
    client.execute(&request)?;
    Pool::of(daemon)?;
    let record = client.execute(&request)?.json()?;
    record["return_value"].as_bool().ok_or_else(|| BenchError::WrongWork {
        who: "the daemon",
        workload: "loaded modules",
        why: record.to_string().chars().take(600).collect(),
    })
}

fn row(
    table: &mut Table,
    measured: &mut Measured,
    number: usize,
    (name, preloaded): (&str, &str),
    summary: &Summary,
) {
    table.row([name.to_owned(), preloaded.to_owned()].into_iter().chain(summary.cells()));
    if let Value::Array(details) = &mut measured.details {
        details.push(json!({
            "against": "imported modules", "modules": name, "number": number, "preloaded": preloaded, "summary": summary,
        }));
    }
}
