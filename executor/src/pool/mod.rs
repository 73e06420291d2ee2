//! Sandboxes that are ready before anybody asks: the runtime has booted and waits for its one job.
//!
//! ```text
//!  asked for ──► window.rs: what the last requests asked for ──► what of it is missing is prepared
//!      │                                                          what is more than that is ended
//!      └──► take: one that waits with the same limits, over the same workspace ──► used once
//!               └── none: the run prepares its own. Nobody ever waits for the pool.
//! ```
//!
//! A sandbox that waits belongs to one language, one kind of limits and one directory: the container's, a session's, or a fresh one
//! made for it. It knows nothing of a job. One task fills the pool ([`Pool::keep_full`]), one sandbox after the other, so that
//! filling takes less than a CPU from programs that run. What waits is looked at every second: one that has died, or whose
//! interpreter or directory was replaced, is ended and made again.

mod window;

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use linux::tree;
use sandbox::limits::{Bytes, Limits};
use sandbox::prepare::{self, Prepared};
use sandbox::program::Language;
use sandbox::runtimes::Stamp;
use tokio::sync::Notify;

use crate::intake::Ceilings;
use crate::job::{Job, Place};
use crate::run::Parts;
use crate::telemetry::events;
use crate::workspaces::{Left, Workspace};
use window::Window;

/// How often those that wait are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// A short run has been answered before the sandbox it took is replaced.
const AFTER_THE_ANSWER: Duration = Duration::from_millis(10);

/// The longest pause after something went wrong; the first is twice [`LOOK`].
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How many sandboxes may wait, and what they may hold together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sizes {
    /// `POOL_PYTHON`
    pub python: usize,
    /// `POOL_JAVASCRIPT`
    pub javascript: usize,
    /// `POOL_SHELL`
    pub shell: usize,
    /// `POOL_MEMORY_MB`
    pub memory: Bytes,
}

impl Sizes {
    pub const fn of(&self, language: Language) -> usize {
        match language {
            Language::Python => self.python,
            Language::Javascript => self.javascript,
            Language::Shell => self.shell,
        }
    }
}

/// Whether nothing went wrong that may go wrong again at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Calm {
    Yes,
    No,
}

/// What a sandbox has to be to serve a request, besides its language.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wish {
    place: Place,
    /// But for the time, which nothing in a sandbox depends on.
    limits: Limits,
}

impl Wish {
    fn new(place: Place, limits: &Limits) -> Self {
        Self { place, limits: Limits { wall: Duration::ZERO, ..limits.clone() } }
    }
}

#[derive(Debug)]
struct Waiting {
    wish: Wish,
    prepared: Prepared,
    workspace: Workspace,
    stamp: Stamp,
    held: Bytes,
}

impl Waiting {
    fn is_usable(&self, interpreter: &Path) -> bool {
        let is_linked = || tree::is_linked(self.workspace.dir.as_fd()).unwrap_or(false);
        self.prepared.is_alive() && Stamp::of(interpreter).is_ok_and(|now| now == self.stamp) && is_linked()
    }

    async fn end(self) {
        self.prepared.destroy().await;
        self.workspace.release(Left::Nothing);
    }
}

/// All of one language.
#[derive(Debug)]
struct Shelf {
    window: Window<Wish>,
    waiting: Vec<Waiting>,
    /// What the last one held: the next will hold as much.
    each_holds: Bytes,
}

impl Shelf {
    fn wishes(&self) -> Vec<&Wish> {
        self.waiting.iter().map(|waiting| &waiting.wish).collect()
    }
}

#[derive(Debug)]
pub struct Pool {
    memory: Bytes,
    shelves: Mutex<BTreeMap<Language, Shelf>>,
    asked: Notify,
}

/// A sandbox and the workspace it is over.
#[derive(Debug)]
pub struct Taken {
    pub prepared: Prepared,
    pub workspace: Workspace,
}

impl Pool {
    /// Empty. Whoever serves fills it.
    pub fn new(sizes: &Sizes, ceilings: &Ceilings) -> Self {
        let usual = [Place::Container, Place::Fresh].map(|place| Wish::new(place, &ceilings.limits()));
        let shelf = |language| Shelf {
            window: Window::new(sizes.of(language), &usual),
            waiting: Vec::new(),
            each_holds: Bytes(0),
        };
        let shelves = Language::ALL.into_iter().map(|language| (language, shelf(language))).collect();
        Self { memory: sizes.memory, shelves: Mutex::new(shelves), asked: Notify::new() }
    }

    /// One that waits for such a job, if there is one. Never waits itself.
    pub fn take(&self, parts: &Parts, job: &Job) -> Option<Taken> {
        let interpreter = &parts.host.language(job.program.language)?.runtime.interpreter;
        let wish = Wish::new(job.place.clone(), &job.limits);
        let taken = {
            let mut shelves = self.shelves();
            let shelf = shelves.get_mut(&job.program.language)?;
            shelf.window.ask(wish.clone());
            let fits = |waiting: &Waiting| waiting.wish == wish && waiting.is_usable(interpreter);
            let found = shelf.waiting.iter().position(fits);
            found.map(|at| shelf.waiting.swap_remove(at))
        };
        self.asked.notify_one();
        let Waiting { prepared, workspace, .. } = taken?;
        let workspace = parts.workspaces.hand_over(workspace, &job.program.execution_id).ok()?;
        Some(Taken { prepared: prepared.for_job(job.limits.wall), workspace })
    }

    /// How many wait now.
    pub fn waiting(&self) -> Vec<(Language, usize)> {
        self.shelves().iter().map(|(language, shelf)| (*language, shelf.waiting.len())).collect()
    }

    /// Prepares the first of each language, side by side. One that cannot be is said so, and tried again later.
    pub async fn fill_first(&self, parts: &Parts) {
        let first = |language| async move {
            if let Some(wish) = self.missing(parts, language) {
                self.add(parts, language, wish).await;
            }
        };
        let [python, javascript, shell] = Language::ALL;
        tokio::join!(first(python), first(javascript), first(shell));
    }

    /// Keeps it as full as it shall be, for as long as it is polled. Where sandboxes cannot be prepared, or die while they wait (a
    /// container without memory kills them first), the pauses grow, and shrink again when all is calm.
    pub async fn keep_full(&self, parts: &Parts) {
        let mut pause = LOOK;
        loop {
            if self.end_unusable(parts).await == Calm::No || self.fill(parts).await == Calm::No {
                pause = (pause * 2).min(LONGEST_PAUSE);
                tokio::time::sleep(pause).await;
                continue;
            }
            pause = (pause / 2).max(LOOK);
            let asked = async {
                self.asked.notified().await;
                tokio::time::sleep(AFTER_THE_ANSWER).await;
            };
            // Whichever is first.
            tokio::time::timeout(LOOK, asked).await.ok();
        }
    }

    /// Ends all that wait. Nobody may be filling it any more.
    pub async fn empty(&self) {
        let all: Vec<Waiting> =
            self.shelves().values_mut().flat_map(|shelf| shelf.waiting.drain(..)).collect();
        for waiting in all {
            waiting.end().await;
        }
    }

    async fn fill(&self, parts: &Parts) -> Calm {
        while let Some((language, wish)) = self.most_missing(parts) {
            if self.add(parts, language, wish).await == Calm::No {
                return Calm::No;
            }
        }
        Calm::Yes
    }

    /// Of the language of which the fewest wait.
    fn most_missing(&self, parts: &Parts) -> Option<(Language, Wish)> {
        let mut waiting = self.waiting();
        waiting.sort_by_key(|(_, count)| *count);
        waiting.into_iter().find_map(|(language, _)| Some((language, self.missing(parts, language)?)))
    }

    /// The next to prepare, if there is room for it.
    fn missing(&self, parts: &Parts, language: Language) -> Option<Wish> {
        parts.host.language(language)?;
        let shelves = self.shelves();
        let shelf = shelves.get(&language)?;
        let has_room = held(&shelves).0 + shelf.each_holds.0 <= self.memory.0;
        shelf.window.missing(&shelf.wishes()).filter(|_| has_room)
    }

    async fn add(&self, parts: &Parts, language: Language, wish: Wish) -> Calm {
        let began = Instant::now();
        let made = match make(parts, language, &wish).await {
            Ok(made) => {
                parts.metrics.count_refill(language, began.elapsed());
                made
            }
            Err(error) => {
                not_filled(parts, language, &wish, &error);
                return match wish.place {
                    // Its directory was removed, or is none: it is not made again until somebody asks for it.
                    Place::Session(_) => {
                        self.shelves()
                            .get_mut(&language)
                            .into_iter()
                            .for_each(|shelf| shelf.window.forget(&wish));
                        Calm::Yes
                    }
                    Place::Container | Place::Fresh => Calm::No,
                };
            }
        };
        let too_many = {
            let mut shelves = self.shelves();
            let Some(shelf) = shelves.get_mut(&language) else { return Calm::Yes };
            shelf.each_holds = made.held;
            shelf.waiting.push(made);
            // Others were asked for meanwhile, or it holds more than was thought.
            let surplus = shelf.window.surplus(&shelf.wishes()).map(|at| shelf.waiting.swap_remove(at));
            surplus.or_else(|| {
                (held(&shelves) > self.memory).then(|| shelves.get_mut(&language)?.waiting.pop()).flatten()
            })
        };
        if let Some(waiting) = too_many {
            waiting.end().await;
        }
        Calm::Yes
    }

    async fn end_unusable(&self, parts: &Parts) -> Calm {
        let mut over = Vec::new();
        let mut calm = Calm::Yes;
        for (language, shelf) in self.shelves().iter_mut() {
            let Some(installed) = parts.host.language(*language) else { continue };
            let is_over = |waiting: &mut Waiting| !waiting.is_usable(&installed.runtime.interpreter);
            for waiting in shelf.waiting.extract_if(.., is_over) {
                if !waiting.prepared.is_alive() {
                    not_filled(parts, *language, &waiting.wish, "a sandbox died while it waited");
                    calm = Calm::No;
                }
                over.push(waiting);
            }
            while let Some(at) = shelf.window.surplus(&shelf.wishes()) {
                over.push(shelf.waiting.swap_remove(at));
            }
        }
        for waiting in over {
            waiting.end().await;
        }
        calm
    }

    /// Never held across an await. A panic leaves at worst a sandbox that is looked at again.
    fn shelves(&self) -> MutexGuard<'_, BTreeMap<Language, Shelf>> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// By all that wait.
fn held(shelves: &BTreeMap<Language, Shelf>) -> Bytes {
    Bytes(shelves.values().flat_map(|shelf| &shelf.waiting).map(|waiting| waiting.held.0).sum())
}

fn not_filled(parts: &Parts, language: Language, wish: &Wish, error: &str) {
    parts.metrics.count_pool_failure(language);
    let (language, place) = (language.name(), wish.place.kind());
    tracing::warn!(language, place, error, "{}", events::POOL_NOT_FILLED);
}

/// A sandbox that waits for such a job. Else: why not.
async fn make(parts: &Parts, language: Language, wish: &Wish) -> Result<Waiting, String> {
    let runtime = &parts.host.language(language).ok_or("the language is not installed")?.runtime;
    let stamp = Stamp::of(&runtime.interpreter).map_err(|error| error.to_string())?;
    let workspace = parts.workspaces.lay_ready(&wish.place).map_err(|error| error.to_string())?;
    match prepare::prepare(&parts.host, runtime, &wish.limits, &workspace.dir).await {
        Ok(mut prepared) => {
            let held = prepared.held();
            Ok(Waiting { wish: wish.clone(), prepared, workspace, stamp, held })
        }
        Err(error) => {
            workspace.release(Left::Nothing);
            Err(error.to_string())
        }
    }
}
