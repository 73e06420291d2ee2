//! A control plane that is gone, and comes back where it was.

use std::io::ErrorKind;
use std::net::TcpStream;

use control_plane_mock::{Action, Mock, Options, Rule};

use crate::client::{PATIENCE, all};
use crate::messages::{mock, result};

fn refused(mock: &Mock) -> bool {
    TcpStream::connect(mock.address()).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

#[test]
fn an_outage_refuses_who_connects_and_ends_on_the_same_port() {
    let mock = mock();
    let address = mock.address();
    for _ in 0..3 {
        mock.refuse_connections();
        assert!(refused(&mock));
        // Said twice is said once.
        mock.refuse_connections();
        mock.accept_connections();
        mock.accept_connections();
        assert_ne!(result("exec_1").answer(&mock).status, 0);
    }
    assert_eq!(mock.address(), address);
    assert_eq!(mock.calls().len(), 3);
}

#[test]
fn an_outage_drops_connections_that_are_open() {
    let mock = mock();
    mock.script(Rule::new(Action::Stall { seconds: 600.0 }));
    let (stalled, idle) =
        (result("exec_1").send(mock.address()), TcpStream::connect(mock.address()).unwrap());
    idle.set_read_timeout(Some(PATIENCE)).unwrap();
    mock.wait_for(PATIENCE, |calls| calls.first().map(|_| ())).expect("the call");
    mock.refuse_connections();
    assert_eq!(all(stalled).unwrap_or_default(), b"");
    assert_eq!(all(idle).unwrap_or_default(), b"");
}

#[test]
fn nobody_else_is_given_the_port_during_an_outage() {
    let mock = mock();
    mock.refuse_connections();
    let options = || Options { address: mock.address(), ..Options::default() };
    let others: Vec<_> = (0..200).map(|_| Mock::start(Options::default()).unwrap().address()).collect();
    assert!(!others.contains(&mock.address()));
    mock.accept_connections();
    assert_eq!(Mock::start(options()).unwrap_err().kind(), ErrorKind::AddrInUse);
}

#[test]
fn a_dropped_mock_leaves_its_port_free() {
    let first = mock();
    let address = first.address();
    result("exec_1").answer(&first);
    drop(first);
    assert!(TcpStream::connect(address).is_err());
    let second = Mock::start(Options { address, ..Options::default() }).unwrap();
    assert_eq!(second.address(), address);
    assert_eq!(second.url(), format!("http://{address}"));
}

#[test]
fn patience_ends_and_what_is_there_already_is_found_at_once() {
    let mock = mock();
    let nothing = mock.wait_for(std::time::Duration::from_millis(20), |calls| calls.first().cloned());
    assert!(nothing.is_none());
    result("exec_1").answer(&mock);
    assert_eq!(mock.wait_for(std::time::Duration::ZERO, |calls| Some(calls.len())), Some(1));
}

#[test]
fn a_look_that_panics_does_not_take_the_mock_with_it() {
    let mock = mock();
    let look = || mock.wait_for(PATIENCE, |_| -> Option<()> { panic!("on purpose") });
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(look)).unwrap_err();
    assert_eq!(result("exec_1").answer(&mock).status, 200);
    assert_eq!(mock.calls().len(), 1);
}

#[test]
fn many_at_once_are_all_in_the_journal_and_each_is_accepted_once() {
    let mock = mock();
    mock.script(Rule::new(Action::AcceptThenClose).with_probability(0.3, 11));
    mock.script(Rule::new(Action::Reset).with_probability(0.3, 12));
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let mock = &mock;
            scope.spawn(move || {
                for number in 0..50 {
                    let request = result(&format!("exec_{thread}_{number}"));
                    // As a daemon does: until it is told that it was accepted.
                    while request.exchange(mock).unwrap_or_default().is_empty() {}
                }
            });
        }
    });
    let calls = mock.calls();
    assert!(calls.is_sorted_by_key(|call| call.number));
    assert_eq!(calls.iter().filter(|call| call.accepted).count(), 400);
    assert!(mock.executions().values().all(|execution| execution.accepted));
    assert_eq!(mock.violations(), Vec::<String>::new());
}
