//! What is added to an answer by reporting to a control plane, and by a cgroup for each run: differences of two daemons'
//! medians, who take turns.

use control_plane_mock::{Mock, Options};
use serde_json::{Value, json};

use crate::{
    daemon::{Daemon, settings::Settings},
    error::{Result, doing},
    load::{
        Done,
        closed::{Quota, share_out},
        connect,
    },
    report::{Measured, figure::Figure, targets},
    setup::Setup,
    stats::{median, milliseconds},
    workloads,
};

const TURN: usize = 10;

pub(super) fn measure(setup: &Setup<'_>) -> Result<Measured> {
    let plain = setup.daemon(Settings::cold())?;
    let runs = setup.effort.runs * 2;
    let mut measured = Measured { daemons: vec![plain.settings.clone()], ..Measured::default() };
    let (outbox_ms, whole_ms) = control_plane(setup, &plain, runs, &mut measured)?;
    measured.figures.push(Figure::judged("the outbox adds, p50", outbox_ms, "ms", targets::OUTBOX_MS));
    measured.figures.push(Figure::told("a control plane adds, p50", whole_ms, "ms"));
    let cgroup_ms = cgroup(setup, &plain, runs)?;
    match cgroup_ms {
        Some(ms) => {
            measured.figures.push(Figure::judged("a cgroup adds, p50", ms, "ms", targets::CGROUP_MS));
        }
        None => measured.notes.push("no cgroup can be made here, so what one adds is left out".to_owned()),
    }
    measured.details =
        json!({ "outbox_ms": outbox_ms, "control_plane_ms": whole_ms, "cgroup_ms": cgroup_ms });
    Ok(measured)
}

/// To the part of an answer that is in none of its phases, where the result is written to disk; and to the whole answer, with
/// everything that comes with it: the heartbeat, the delivery, and the control plane itself, which shares the machine.
fn control_plane(
    setup: &Setup<'_>,
    plain: &Daemon,
    runs: usize,
    measured: &mut Measured,
) -> Result<(f64, f64)> {
    let mock = Mock::start(Options::default()).map_err(doing("start a control plane"))?;
    let settings = Settings::cold().named("with a control plane");
    let calling =
        setup.daemon(settings.with("CONTROL_PLANE_URL", mock.url()).with("INTERNAL_API_TOKEN", "bench"))?;
    measured.daemons.push(calling.settings.clone());
    let sides = take_turns([plain, &calling], runs, |done| {
        let phases = done.record["metrics"]["phases_ms"].as_object().into_iter();
        let in_phases: f64 = phases.flat_map(|phases| phases.values()).filter_map(Value::as_f64).sum();
        let whole = milliseconds(done.elapsed);
        (whole, whole - in_phases)
    })?;
    let medians = sides.map(|samples| {
        let (whole, outside): (Vec<f64>, Vec<f64>) = samples.into_iter().unzip();
        (median(&whole), median(&outside))
    });
    let [(plain_whole, plain_outside), (whole, outside)] = medians;
    Ok((outside - plain_outside, whole - plain_whole))
}

/// Beside a daemon that can make none. Nothing where `plain` can make none either.
fn cgroup(setup: &Setup<'_>, plain: &Daemon, runs: usize) -> Result<Option<f64>> {
    if !plain.makes_cgroups()? {
        return Ok(None);
    }
    let without = setup.daemon_without_cgroups(Settings::cold().named("without cgroups"))?;
    let sides = take_turns([&without, plain], runs, |done| milliseconds(done.elapsed))?;
    let [without, with] = sides.map(|samples| median(&samples));
    Ok(Some(with - without))
}

/// Runs of a shell's `true`, ten on one daemon, ten on the other; and what is read from each answer.
fn take_turns<T: Send>(
    daemons: [&Daemon; 2],
    runs: usize,
    read: impl Fn(&Done) -> T + Sync,
) -> Result<[Vec<T>; 2]> {
    let shell = workloads::shell();
    let [first, second] = daemons;
    let mut sides = [(connect(first, 1)?, Vec::new()), (connect(second, 1)?, Vec::new())];
    // The first ten of each warm it up. Whoever was second is first next time.
    for turn in 0..runs.div_ceil(TURN) + 1 {
        let order = if turn % 2 == 0 { [0, 1] } else { [1, 0] };
        for side in order {
            let (workers, samples) = &mut sides[side];
            let (answers, _) =
                share_out(workers, Quota::Runs(TURN), |worker| Ok(read(&worker.run(&shell)?)))?;
            if turn > 0 {
                samples.extend(answers);
            }
        }
    }
    Ok(sides.map(|(_, samples)| samples))
}
