use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn queue(concurrency: usize, capacity: usize) -> Queue {
    Queue::new(NonZeroUsize::new(concurrency).unwrap(), capacity)
}

fn session(name: &str) -> Place {
    Place::Session(name.to_owned())
}

#[test]
fn one_place_runs_one_after_another_and_another_place_beside_it() {
    let mut queue = queue(4, 10);
    assert_eq!(queue.submit(Id(1), Place::Container), Decision::Run);
    assert_eq!(queue.submit(Id(2), Place::Container), Decision::Wait { position: 0 });
    assert_eq!(queue.submit(Id(3), session("a")), Decision::Run);
    assert_eq!(queue.finish(Id(3)), []);
    assert_eq!(queue.finish(Id(1)), [Id(2)]);
}

#[test]
fn fresh_workspaces_never_wait_for_each_other() {
    let mut queue = queue(2, 10);
    assert_eq!(queue.submit(Id(1), Place::Fresh), Decision::Run);
    assert_eq!(queue.submit(Id(2), Place::Fresh), Decision::Run);
    assert_eq!(queue.submit(Id(3), Place::Fresh), Decision::Wait { position: 0 });
}

#[test]
fn a_full_queue_refuses_and_one_without_room_refuses_what_cannot_run_at_once() {
    let mut queue = queue(1, 0);
    assert_eq!(queue.submit(Id(1), Place::Fresh), Decision::Run);
    assert_eq!(queue.submit(Id(2), Place::Fresh), Decision::Refuse);
    assert_eq!(queue.finish(Id(1)), []);
    assert_eq!(queue.submit(Id(3), Place::Fresh), Decision::Run);
}

#[test]
fn a_waiting_one_with_a_busy_workspace_holds_up_nobody_else() {
    let mut queue = queue(2, 10);
    queue.submit(Id(1), session("a"));
    queue.submit(Id(2), session("b"));
    queue.submit(Id(3), session("a"));
    queue.submit(Id(4), session("c"));
    assert_eq!(queue.finish(Id(2)), [Id(4)], "3 still has to wait for 1");
    assert_eq!(queue.finish(Id(1)), [Id(3)]);
}

#[test]
fn finishing_or_leaving_twice_changes_nothing() {
    let mut queue = queue(1, 10);
    queue.submit(Id(1), Place::Fresh);
    queue.submit(Id(2), Place::Fresh);
    queue.leave(Id(1));
    assert_eq!((queue.running(), queue.waiting()), (1, 1), "a running one cannot leave");
    assert_eq!(queue.finish(Id(2)), [], "a waiting one cannot finish");
    queue.leave(Id(2));
    queue.leave(Id(2));
    assert_eq!(queue.finish(Id(1)), []);
    assert_eq!((queue.running(), queue.waiting()), (0, 0));
}

#[derive(Debug, Clone)]
enum Operation {
    Submit(Place),
    /// Of the running ones, the one at this index (modulo their number).
    Finish(usize),
    /// Of the waiting ones, likewise.
    Leave(usize),
}

fn operation() -> impl Strategy<Value = Operation> {
    let place = prop_oneof![
        Just(Place::Container),
        Just(Place::Fresh),
        (0_u8..3).prop_map(|number| Place::Session(format!("s{number}"))),
    ];
    prop_oneof![
        4 => place.prop_map(Operation::Submit),
        3 => any::<usize>().prop_map(Operation::Finish),
        1 => any::<usize>().prop_map(Operation::Leave),
    ]
}

/// What a reader would keep on paper: every submission's place, and who runs and waits, told only by the answers.
#[derive(Default)]
struct Ledger {
    places: BTreeMap<Id, Place>,
    running: Vec<Id>,
    waiting: Vec<Id>,
}

impl Ledger {
    fn start(&mut self, id: Id) {
        let place = self.places[&id].clone();
        let position =
            self.waiting.iter().position(|waiting| *waiting == id).expect("only a waiting one is started");
        // Nobody starves, and each place is first come, first served: whoever came earlier could not run either.
        for earlier in &self.waiting[..position] {
            let busy = &self.places[earlier];
            assert!(self.is_busy(busy), "{earlier:?} could have run before {id:?}");
            assert_ne!(busy, &place, "{earlier:?} came first to the same place");
        }
        self.waiting.remove(position);
        self.running.push(id);
    }

    fn is_busy(&self, place: &Place) -> bool {
        *place != Place::Fresh && self.running.iter().any(|id| self.places[id] == *place)
    }

    fn check(&self, queue: &Queue, concurrency: usize, capacity: usize) {
        assert_eq!((queue.running(), queue.waiting()), (self.running.len(), self.waiting.len()));
        assert!(self.running.len() <= concurrency && self.waiting.len() <= capacity);
        for (index, one) in self.running.iter().enumerate() {
            let shared = self.running[index + 1..].iter().any(|other| self.places[one] == self.places[other]);
            assert!(!shared || self.places[one] == Place::Fresh, "two run in {:?}", self.places[one]);
        }
        if self.running.len() < concurrency {
            assert!(
                self.waiting.iter().all(|id| self.is_busy(&self.places[id])),
                "somebody waits who could run"
            );
        }
    }
}

proptest! {
    #[test]
    fn no_sequence_of_operations_breaks_a_promise(
        concurrency in 1_usize..4,
        capacity in 0_usize..6,
        operations in proptest::collection::vec(operation(), 0..200),
    ) {
        let mut queue = queue(concurrency, capacity);
        let mut ledger = Ledger::default();
        for (number, operation) in operations.into_iter().enumerate() {
            match operation {
                Operation::Submit(place) => {
                    let id = Id(number as u64);
                    ledger.places.insert(id, place.clone());
                    match queue.submit(id, place.clone()) {
                        Decision::Run => {
                            assert!(!ledger.is_busy(&place));
                            ledger.running.push(id);
                        }
                        Decision::Wait { position } => {
                            assert_eq!(position, ledger.waiting.len());
                            ledger.waiting.push(id);
                        }
                        Decision::Refuse => {
                            assert_eq!(ledger.waiting.len(), capacity);
                            assert!(ledger.running.len() == concurrency || ledger.is_busy(&place));
                        }
                    }
                }
                Operation::Finish(index) if !ledger.running.is_empty() => {
                    let id = ledger.running.remove(index % ledger.running.len());
                    queue.finish(id).into_iter().for_each(|started| ledger.start(started));
                }
                Operation::Leave(index) if !ledger.waiting.is_empty() => {
                    let id = ledger.waiting.remove(index % ledger.waiting.len());
                    queue.leave(id);
                }
                Operation::Finish(_) | Operation::Leave(_) => {}
            }
            ledger.check(&queue, concurrency, capacity);
        }
        // Whoever still waits gets a turn once the others are done.
        while let Some(id) = ledger.running.pop() {
            queue.finish(id).into_iter().for_each(|started| ledger.start(started));
            ledger.check(&queue, concurrency, capacity);
        }
        assert_eq!((queue.running(), queue.waiting()), (0, 0));
    }
}
