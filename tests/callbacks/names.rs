//! Where the control plane is: addresses that lead nowhere, ways that must not be taken, and every form of address that is allowed.
//! (Addresses and tokens that are refused at the start, CP-09 and CP-10, are in `tests/api/command_line.rs`.)

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use conformance::{Daemon, INTERNAL_TOKEN, Settings, can};
use control_plane_mock::{Kind, Mock, Options};

use crate::support::{accepted, call, calling, mock, names, nothing_wrong, script};

/// All four kinds of calls arrive, all below this path, and nothing elsewhere.
fn everything_arrives(mock: &Mock, mut daemon: Daemon, below: &str) {
    daemon.execute(&script("exec_found", "echo found")).result();
    accepted(mock, "exec_found");
    call(mock, |call| call.kind == Kind::Ready && call.accepted);
    call(mock, |call| call.kind == Kind::Heartbeat && call.accepted);
    daemon.signal("TERM");
    daemon.wait();
    call(mock, |call| call.kind == Kind::Exited && call.accepted);
    for call in mock.calls() {
        assert_ne!(call.kind, Kind::Other, "{call:?}");
        assert!(call.path.starts_with(&format!("{below}/internal/")), "{}", call.path);
    }
    nothing_wrong(mock);
}

fn mock_below(prefix: &str) -> Mock {
    let token = Some(INTERNAL_TOKEN.to_owned());
    Mock::start(Options { token, prefix: prefix.to_owned(), ..Options::default() }).unwrap()
}

#[test]
fn a_name_that_does_not_exist_is_said_in_the_log_and_hinders_nobody() {
    let daemon = calling("http://no-such-host.invalid:80").start();
    let asked = Instant::now();
    for number in 0..5 {
        let answer = daemon.execute(&script(&format!("exec_{number}"), "echo here")).result();
        assert_eq!((&answer["stdout"], &answer["callback"]), (&"here\n".into(), &"journalled".into()));
    }
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    for event in ["ready_deferred", "callback_deferred", "heartbeat_missed"] {
        daemon.eventually(event, |daemon| !daemon.events(event).is_empty());
        let line = &daemon.events(event)[0];
        assert!(
            line["error"].as_str().unwrap().starts_with("cannot connect to the control plane: "),
            "{line}"
        );
    }
    assert_eq!(names(&daemon.results()).iter().filter(|name| name.ends_with(".json")).count(), 5);
}

// EV-05
#[test]
fn the_proxies_of_the_environment_are_not_used() {
    let mock = mock();
    let proxy = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}", proxy.local_addr().unwrap());
    let settings = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
        .iter()
        .fold(Settings::new(), |settings, name| settings.set(name, &url));
    everything_arrives(&mock, settings.calling(&mock).start(), "");
    proxy.set_nonblocking(true).unwrap();
    let nobody = proxy.accept().expect_err("somebody came");
    assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn the_prefix_is_part_of_every_path() {
    let mock = mock_below("/api/v1");
    let daemon = Settings::new().set("CONTROL_PLANE_PREFIX", "/api/v1").calling(&mock).start();
    everything_arrives(&mock, daemon, "/api/v1");
}

#[test]
fn a_slash_at_the_end_of_the_address_is_not_doubled() {
    let mock = mock();
    let daemon = calling(&format!("{}/", mock.url())).start();
    everything_arrives(&mock, daemon, "");
}

#[test]
fn a_path_in_the_address_comes_before_the_prefix() {
    let mock = mock_below("/base/api");
    let daemon = calling(&format!("{}/base/", mock.url())).set("CONTROL_PLANE_PREFIX", "/api").start();
    everything_arrives(&mock, daemon, "/base/api");
}

// CP-09
#[test]
fn an_address_of_ipv6_is_an_address() {
    let here = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
    if !can(TcpListener::bind(here).is_ok(), "there is no IPv6 here") {
        return;
    }
    let token = Some(INTERNAL_TOKEN.to_owned());
    let mock = Mock::start(Options { address: here, token, ..Options::default() }).unwrap();
    assert!(mock.url().starts_with("http://[::1]:"), "{}", mock.url());
    everything_arrives(&mock, calling(&mock.url()).start(), "");
}
