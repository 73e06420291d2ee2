//! Walks one sandbox: what its processes use at this moment.
//!
//! A sandbox's processes are the descendants of its init, wherever they were re-parented to; a process that ends during the
//! walk is simply not counted. Numbers of the sandbox itself (init, launcher, the interpreter's boot) are measured once,
//! before user code runs, and taken off.
//!
//! Memory is added up from what cannot overlap: private pages, page tables, what the kernel holds, and shared memory. The last
//! is files in tmpfs plus what is mapped, less what of the mapped lies in those files.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use linux::clock::cpu_time;
use procfs::process::Process;

use super::beside::Beside;
use super::pace;
use super::process::{Held, Memory, WORTH_LOOKING_UP};
use crate::limits::Bytes;

/// A weighing that takes longer is still waited for, but meanwhile the cheap numbers are looked at this often: a program can
/// add page tables as fast as the kernel walks them, and has to be killed for the walk to end.
const WEIGHING: Duration = Duration::from_millis(10);

/// What has come since a weighing may be shared, too. More than this beyond the limit, if it is not, is worth half a CPU.
const WORTH_WEIGHING: Bytes = Bytes(16 << 20);

/// Two processes with one and the same memory are looked at one after the other, and differ by no more.
const TWINS: u64 = 64 << 10;

/// The kernel tells of a stop a moment before the last thread is off its CPU.
const LATE: Duration = Duration::from_millis(1);

/// As the kernel says that a signal has stopped a process (proc(5)).
const STOPPED: char = 'T';

/// The sandbox at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sample {
    /// Of every process of the sandbox, ours included, living and waited for.
    pub cpu: Duration,
    /// Of the program's living processes.
    pub program_cpu: Duration,
    /// Of the run, about: private pages that a fork still shares are in it more than once, mappings that processes share
    /// are in it once.
    pub memory: Bytes,
    /// Of the run, at most: every page as often as it is mapped.
    pub memory_at_most: Bytes,
    /// What the largest process maps of files on a disk, where [`memory`](Self::memory) leaves them out.
    pub files_left_out: Bytes,
    /// Processes and threads of the program.
    pub tasks: u64,
}

/// Walks one sandbox, again and again.
#[derive(Debug)]
pub struct Sampler {
    init: u32,
    first_child: FirstChild,
    /// Init, launcher where there is one, and runtime, once it has booted. A shell's runtime starts later.
    at_boot: Vec<u32>,
    /// Kernel ticks per second, for the times of processes that were waited for.
    ticks: u64,
    last: Option<Last>,
    shared_then: SharedThen,
    weighing: Option<Weighing>,
}

/// The last weighing. For a while it must do, with what has surely come since: a program that shares much near its limit must
/// not keep the daemon weighing.
#[derive(Debug)]
struct Weighing {
    ended: Instant,
    took: Duration,
    memory: Bytes,
    at_most: Bytes,
}

/// How much of each process's private pages was also another's, in bytes, at the last weighing; of a newer process, all that it
/// had when it was first seen. Only a fork makes pages shared, and it makes a new process: what one of these has taken since
/// is its own, and needs no further weighing.
type SharedThen = BTreeMap<Identity, u64>;

/// Process and the clock tick of its start: numbers are given out again.
type Identity = (u32, u64);

/// The last look.
#[derive(Debug)]
struct Last {
    sample: Sample,
    /// CPU time of each process then.
    clocks: Vec<(u32, Duration)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// The sandbox's init, and its first child, the launcher.
    Ours,
    Programs,
}

/// What the sandbox's init started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstChild {
    /// The launcher, whose child is the program.
    Launcher,
    /// The program: init is the launcher, too.
    Program,
}

/// One process during a walk.
struct Seen {
    pid: u32,
    started: u64,
    process: Process,
    whose: Whose,
    /// Its own, and of those it waited for.
    cpu: Duration,
    own_cpu: Duration,
    threads: u64,
    memory: Memory,
}

/// A process that was seen stopped, alone.
#[derive(Debug, Clone, Copy)]
pub struct Resting {
    program: u32,
    /// Its CPU time then, without those it has waited for.
    clock: Duration,
}

impl Resting {
    /// An account of what it has used, taken when it stopped, says at least so much; one of an earlier stop, less.
    pub fn is_accounted_for(&self, cpu: Duration) -> bool {
        cpu + LATE >= self.clock
    }

    /// Since then it has not run for a nanosecond: so it has done nothing, and is still alone.
    pub fn is_true(&self) -> bool {
        cpu_time(self.program).is_ok_and(|now| now == self.clock)
    }
}

impl Sampler {
    /// Of a sandbox that has booted, and in which nothing else has happened yet.
    pub fn new(init: u32, first_child: FirstChild) -> Self {
        let mut sampler = Self {
            init,
            first_child,
            at_boot: Vec::new(),
            ticks: procfs::ticks_per_second(),
            last: None,
            shared_then: SharedThen::new(),
            weighing: None,
        };
        let first_child = |pid: &u32| children(*pid).into_iter().next();
        sampler.at_boot = std::iter::successors(Some(init), first_child).take(sampler.ours() + 1).collect();
        sampler
    }

    /// Looks at everything, as far as it matters to a run with this limit. Never fails: a sandbox that is gone uses nothing.
    ///
    /// Where no process has run since the last look nothing has changed, and that look still holds.
    pub fn look(&mut self, limit: Bytes) -> Sample {
        if let Some(last) = self.last.as_ref().filter(|last| last.still_holds()) {
            return last.sample;
        }
        let walked = Arc::new(self.walk());
        for seen in programs(&walked) {
            self.shared_then.entry(seen.identity()).or_insert(seen.memory.mapped.anonymous);
        }
        let clocks = walked.iter().map(|seen| (seen.pid, seen.own_cpu)).collect();
        let beside = self.beside(&walked);
        let sample = self.weighed(add_up(&walked, &beside), &walked, &beside, limit);
        self.last = Some(Last { sample, clocks });
        sample
    }

    /// Init, launcher where there is one, and runtime. A shell's runtime starts later.
    pub fn at_boot(&self) -> &[u32] {
        &self.at_boot
    }

    /// The program's first process, if it is stopped and nothing else of the program is left.
    pub fn at_rest(&self) -> Option<Resting> {
        let (program, ours) = self.at_boot.split_last().filter(|(_, ours)| ours.len() == self.ours())?;
        // Before the look: had it run after that, it would show.
        let resting = Resting { program: *program, clock: cpu_time(*program).ok()? };
        let next = self.at_boot.iter().skip(1);
        let alone = ours.iter().zip(next).all(|(pid, child)| children(*pid) == [*child]);
        (alone && is_stopped(*program) && is_childless(*program).unwrap_or(false)).then_some(resting)
    }

    /// How many processes there are before the program's first.
    const fn ours(&self) -> usize {
        match self.first_child {
            FirstChild::Launcher => 2,
            FirstChild::Program => 1,
        }
    }

    /// CPU time so far, of such a sandbox. Cheaper than a sample: this is on the way of every answer.
    pub fn booted(&self) -> Sample {
        let spent: Vec<Duration> =
            self.at_boot.iter().map(|pid| cpu_time(*pid).unwrap_or_default()).collect();
        let program_cpu = spent.get(self.ours()).copied().unwrap_or_default();
        Sample { cpu: spent.iter().sum(), program_cpu, ..Sample::default() }
    }

    /// The same sample with the memory that the run really holds, where it may matter: the kernel's proportional sizes,
    /// which count each page once but are slow to get.
    fn weighed(&mut self, sample: Sample, walked: &Arc<Vec<Seen>>, beside: &Beside, limit: Bytes) -> Sample {
        if sample.memory_at_most <= limit {
            return sample;
        }
        let at_least = self.at_least(walked, beside);
        if at_least > limit {
            return Sample { memory: at_least, ..sample };
        }
        let began = Instant::now();
        if let Some(last) =
            self.weighing.as_ref().filter(|last| last.will_do(began, sample.memory_at_most, limit))
        {
            return Sample { memory: at_least.max(last.memory), ..sample };
        }
        let mut memory = match self.weigh_and_watch(walked, beside, limit) {
            Ok((memory, shared_then)) => {
                self.shared_then = shared_then;
                memory
            }
            Err(memory) => return Sample { memory, ..sample },
        };
        if memory > limit && counted_twice(walked, beside) >= memory.0 - limit.0 {
            let walked = Arc::new(self.walk());
            let beside = self.beside(&walked);
            let again = self.weigh_and_watch(&walked, &beside, limit);
            memory = again.map_or_else(|over| over, |(again, _)| memory.min(again));
        }
        let (ended, took) = (Instant::now(), began.elapsed());
        self.weighing = Some(Weighing { ended, took, memory, at_most: sample.memory_at_most });
        let files = programs(walked).map(|seen| seen.memory.mapped.file).max().unwrap_or_default();
        Sample { memory, files_left_out: Bytes(files), ..sample }
    }

    /// Weighs. Returns early, with what is held at least, if that crosses the limit meanwhile.
    fn weigh_and_watch(
        &self,
        walked: &Arc<Vec<Seen>>,
        beside: &Beside,
        limit: Bytes,
    ) -> Result<(Bytes, SharedThen), Bytes> {
        let (tell, told) = mpsc::channel();
        let weighed = (Arc::clone(walked), beside.clone());
        // Nobody may listen any more.
        let weighing = move || drop(tell.send(weigh(&weighed.0, &weighed.1)));
        if std::thread::Builder::new().name("weighing".to_owned()).spawn(weighing).is_err() {
            return Ok(weigh(walked, beside));
        }
        // It may take long: other tasks of this thread go on meanwhile.
        tokio::task::block_in_place(|| {
            loop {
                match told.recv_timeout(WEIGHING) {
                    Ok(weighed) => return Ok(weighed),
                    Err(RecvTimeoutError::Disconnected) => return Ok(weigh(walked, beside)),
                    Err(RecvTimeoutError::Timeout) => {
                        let now = self.walk();
                        let at_least = self.at_least(&now, &self.beside(&now));
                        if at_least > limit {
                            return Err(at_least);
                        }
                    }
                }
            }
        })
    }

    /// What must be held: the private pages of the largest process, or those that have come since the last weighing.
    /// Processes that are newer may share everything they have.
    fn at_least(&self, walked: &[Seen], beside: &Beside) -> Bytes {
        let own = programs(walked).filter_map(|seen| {
            let shared = self.shared_then.get(&seen.identity())?;
            Some(seen.memory.mapped.anonymous.saturating_sub(*shared))
        });
        let largest = programs(walked).map(|seen| seen.memory.mapped.anonymous).max().unwrap_or_default();
        let page_tables: u64 = programs(walked).map(|seen| seen.memory.mapped.page_tables).sum();
        // Shared memory that one process maps twice counts twice here: it is rare, and telling takes as long as filling it.
        let shared = programs(walked).map(|seen| seen.memory.mapped.shared_memory).max().unwrap_or_default();
        Bytes(own.sum::<u64>().max(largest) + page_tables + beside.kernel + shared.max(beside.files))
    }

    fn beside(&self, walked: &[Seen]) -> Beside {
        Beside::look(self.init, programs(walked).map(|seen| seen.memory.mapped))
    }

    fn walk(&self) -> Vec<Seen> {
        let mut walked = Vec::new();
        let mut pending = vec![(self.init, Whose::Ours)];
        while let Some((pid, whose)) = pending.pop() {
            let Some((seen, children)) = self.look_at(pid, whose) else {
                continue;
            };
            // The launcher was the first child of init, and pids of one boot only grow until they wrap.
            let launched = pid == self.init && self.first_child == FirstChild::Launcher;
            let launcher = launched.then(|| children.iter().min().copied()).flatten();
            pending.extend(children.into_iter().map(|child| {
                let whose = if Some(child) == launcher { Whose::Ours } else { Whose::Programs };
                (child, whose)
            }));
            walked.push(seen);
        }
        walked
    }

    fn look_at(&self, pid: u32, whose: Whose) -> Option<(Seen, Vec<u32>)> {
        // First: what happens after it shows at the next look.
        let own_cpu = cpu_time(pid).unwrap_or_default();
        let process = Process::new(i32::try_from(pid).ok()?).ok()?;
        let stat = process.stat().ok()?;
        let memory = Memory::of(&process).ok()?;
        let children =
            process.tasks().ok()?.filter_map(|task| task.ok()?.children().ok()).flatten().collect();
        let waited_for = u64::try_from(stat.cutime + stat.cstime).unwrap_or(0) * 1000 / self.ticks;
        let seen = Seen {
            pid,
            started: stat.starttime,
            whose,
            cpu: own_cpu + Duration::from_millis(waited_for),
            own_cpu,
            threads: u64::try_from(stat.num_threads).unwrap_or(0),
            memory,
            process,
        };
        Some((seen, children))
    }
}

impl Seen {
    fn identity(&self) -> Identity {
        (self.pid, self.started)
    }
}

impl Weighing {
    /// A fifth of a CPU goes into weighing, half of one while the limit may have been crossed since.
    fn will_do(&self, now: Instant, at_most: Bytes, limit: Bytes) -> bool {
        let grown = at_most.0.saturating_sub(self.at_most.0);
        let crossed = self.memory.0 + grown > limit.0 + WORTH_WEIGHING.0;
        now < self.ended + self.took * if crossed { 1 } else { 4 }
    }
}

impl Last {
    /// None of its processes has run since: none has made another, or taken memory. Costs a microsecond for each.
    fn still_holds(&self) -> bool {
        self.clocks.iter().all(|(pid, then)| cpu_time(*pid).is_ok_and(|now| now == *then))
    }
}

fn programs(walked: &[Seen]) -> impl Iterator<Item = &Seen> {
    walked.iter().filter(|seen| seen.whose == Whose::Programs)
}

fn add_up(walked: &[Seen], beside: &Beside) -> Sample {
    let mapped = || programs(walked).map(|seen| seen.memory.mapped);
    let page_tables: u64 = mapped().map(|mapped| mapped.page_tables).sum();
    let shared = mapped().map(|mapped| mapped.shared_memory).max().unwrap_or_default();
    let files = mapped().map(|mapped| mapped.file).max().unwrap_or_default();
    let anonymous: u64 = mapped().map(|mapped| mapped.anonymous).sum();
    let pages: u64 = mapped().map(|mapped| mapped.pages()).sum();
    Sample {
        cpu: walked.iter().map(|seen| seen.cpu).sum(),
        program_cpu: programs(walked).map(|seen| seen.cpu).sum(),
        memory: Bytes(anonymous + page_tables + beside.kernel + files + shared.max(beside.files)),
        memory_at_most: Bytes(pages + page_tables + beside.kernel + beside.files),
        files_left_out: Bytes(0),
        tasks: programs(walked).map(|seen| seen.threads).sum(),
    }
}

/// What is held, and what of the private pages is shared.
fn weigh(walked: &[Seen], beside: &Beside) -> (Bytes, SharedThen) {
    let (mut total, mut shared, mut in_files) = (beside.kernel + beside.files, 0, 0);
    let mut shared_then = SharedThen::new();
    // Only files of some size can be much of what is mapped.
    let devices = if beside.files > WORTH_LOOKING_UP { beside.devices.as_slice() } else { &[] };
    for (seen, held, anonymous) in held_by_each(&programs(walked).collect::<Vec<_>>(), devices) {
        total += held.anonymous + held.unwritten_files + seen.memory.mapped.page_tables;
        shared += held.shared_memory;
        in_files += held.in_files;
        shared_then.insert(seen.identity(), anonymous.saturating_sub(held.anonymous));
    }
    // What is shared memory and no file of a tmpfs has no name and is only here.
    (Bytes(total + shared.saturating_sub(in_files.min(beside.files))), shared_then)
}

/// What each holds, and the private pages that it had right after: what it took in between must not pass for less that is
/// shared. A thread for each CPU: programs yield to the daemon, and get little done meanwhile.
fn held_by_each<'a>(programs: &[&'a Seen], devices: &[(u64, u64)]) -> Vec<(&'a Seen, Held, u64)> {
    let next = AtomicUsize::new(0);
    let weigh_some = || {
        let taken = std::iter::from_fn(|| programs.get(next.fetch_add(1, Ordering::Relaxed)));
        let weighed = taken.map(|seen| {
            let held = seen.memory.held(&seen.process, devices);
            let anonymous = Memory::of(&seen.process).map_or(0, |now| now.mapped.anonymous);
            (*seen, held, anonymous)
        });
        weighed.collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        let others = 1..pace::cpus().min(programs.len());
        // Fewer do as well.
        let others: Vec<_> =
            others.map_while(|_| std::thread::Builder::new().spawn_scoped(scope, weigh_some).ok()).collect();
        let mut weighed = weigh_some();
        for other in others {
            weighed.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        weighed
    })
}

/// What a weighing may have counted twice, at most. A process that ended meanwhile left its share of a page to others; one
/// that starts another is there twice until that has memory of its own (vfork(2)); and a file may have been unmapped between
/// the two looks that tell what is mapped and what of it is a file.
fn counted_twice(walked: &[Seen], beside: &Beside) -> u64 {
    let mut sizes: Vec<_> = programs(walked).map(|seen| seen.memory.mapped.anonymous).collect();
    sizes.sort_unstable();
    let twins: u64 = sizes.windows(2).filter(|pair| pair[1] - pair[0] <= TWINS).map(|pair| pair[0]).sum();
    let has_ended = |seen: &&Seen| Memory::of(&seen.process).map_or(0, |now| now.mapped.pages()) == 0;
    let ended: u64 = programs(walked).filter(has_ended).map(|seen| seen.memory.mapped.pages()).sum();
    let shared: u64 = programs(walked).map(|seen| seen.memory.mapped.shared_memory).sum();
    twins + ended + shared.min(beside.files)
}

fn is_stopped(pid: u32) -> bool {
    let stat = i32::try_from(pid).ok().and_then(|pid| Process::new(pid).ok()?.stat().ok());
    stat.is_some_and(|stat| stat.state == STOPPED)
}

/// None of its threads has a child, living or dead.
fn is_childless(pid: u32) -> io::Result<bool> {
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        if !fs::read_to_string(thread?.path().join("children"))?.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Of a process with one thread.
fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}
