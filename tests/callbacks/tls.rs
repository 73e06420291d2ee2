//! TLS, class CP-05: to whom the daemon speaks at all. Whoever cannot prove to be the control plane hears neither a token nor a
//! result, encrypted or not, and the result waits. CP-02 with a server that cannot even be connected to is here, too.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use conformance::tls::{Authority, Front, Manner, Validity, self_signed};
use conformance::{Daemon, INTERNAL_TOKEN, daemon as directories};
use control_plane_mock::Kind;

use crate::support::{accepted, call, calling, mock, names, nothing_wrong, script};

const TRUSTED: &str = "trusted";

/// A daemon that trusts this authority and no other.
fn daemon_trusting(authority: &Authority, front: &Front, home: &Path) -> Daemon {
    let file = home.join("authority.pem");
    fs::write(&file, authority.pem()).unwrap();
    calling(&front.url()).set("SSL_CERT_FILE", file.display()).start()
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

// CP-05
#[test]
fn a_control_plane_with_a_trusted_certificate_is_spoken_to_and_only_encrypted() {
    let (mock, home, authority) = (mock(), directories::home(), Authority::new(TRUSTED));
    let front = Front::start(authority.server("localhost", Validity::Now), mock.address());
    let daemon = daemon_trusting(&authority, &front, home.path());
    let answer = daemon.execute(&script("exec_private", "echo secret-output")).result();
    assert_eq!(*accepted(&mock, "exec_private").body, answer);
    call(&mock, |call| call.kind == Kind::Ready && call.accepted);
    call(&mock, |call| call.kind == Kind::Heartbeat && call.accepted);
    nothing_wrong(&mock);
    let heard = front.heard();
    for secret in [INTERNAL_TOKEN, "secret-output"] {
        // Also the control of the other tests: here the front does hear it.
        assert!(contains(&heard.decrypted, secret) && !contains(&heard.wire, secret), "{secret}");
    }
}

/// A daemon whose control plane is like this tells it nothing, goes on, keeps the result and says why.
fn is_told_nothing(why: &str, manner: impl FnOnce(&Authority) -> Manner) {
    let (mock, home, authority) = (mock(), directories::home(), Authority::new(TRUSTED));
    let front = Front::start(manner(&authority), mock.address());
    let daemon = daemon_trusting(&authority, &front, home.path());
    let answer = daemon.execute(&script("exec_kept", "echo secret-output")).result();
    assert_eq!(
        (answer["status"].as_str(), answer["callback"].as_str()),
        (Some("success"), Some("journalled"))
    );
    for event in ["callback_deferred", "ready_deferred", "heartbeat_missed"] {
        daemon.eventually(event, |daemon| !daemon.events(event).is_empty());
    }
    daemon.eventually("it tries again", |daemon| daemon.events("callback_deferred").len() >= 2);
    let deferred = daemon.events("callback_deferred");
    for line in &deferred {
        assert_eq!(line["execution_id"], "exec_kept");
        assert!(line["error"].as_str().unwrap().contains(why), "{line}");
    }
    assert_eq!(names(&daemon.results()).iter().filter(|name| *name == "exec_kept.json").count(), 1);
    let heard = front.heard();
    assert!(heard.connections >= 4, "{}", heard.connections);
    assert_eq!(String::from_utf8_lossy(&heard.decrypted), "");
    for said in [INTERNAL_TOKEN, "secret-output", "POST ", "internal"] {
        assert!(!contains(&heard.wire, said), "{said}");
    }
    assert_eq!(mock.calls().len(), 0);
}

// CP-05
#[test]
fn a_certificate_that_nobody_vouches_for_is_told_nothing() {
    is_told_nothing("invalid peer certificate: UnknownIssuer", |_| self_signed("localhost"));
}

// CP-05
#[test]
fn a_certificate_of_another_authority_is_told_nothing() {
    is_told_nothing("invalid peer certificate: UnknownIssuer", |_| {
        Authority::new("other").server("localhost", Validity::Now)
    });
}

#[test]
fn a_certificate_of_an_authority_that_only_bears_the_trusted_name_is_told_nothing() {
    is_told_nothing("invalid peer certificate: BadSignature", |_| {
        Authority::new(TRUSTED).server("localhost", Validity::Now)
    });
}

// CP-05
#[test]
fn a_certificate_for_another_name_is_told_nothing() {
    is_told_nothing("not valid for name", |authority| {
        authority.server("control-plane.example", Validity::Now)
    });
}

// CP-05
#[test]
fn a_certificate_that_has_expired_is_told_nothing() {
    is_told_nothing("certificate expired", |authority| authority.server("localhost", Validity::NoLonger));
}

#[test]
fn a_certificate_that_is_not_valid_yet_is_told_nothing() {
    is_told_nothing("certificate not valid yet", |authority| authority.server("localhost", Validity::NotYet));
}

// CP-05
#[test]
fn a_server_that_speaks_no_tls_is_told_nothing() {
    is_told_nothing("received corrupt message", |_| Manner::Plain);
}

// CP-05
#[test]
fn a_server_that_knows_no_recent_tls_is_told_nothing() {
    is_told_nothing("ProtocolVersion", |_| Manner::TooOld);
}

#[test]
fn a_server_that_hangs_up_in_the_handshake_is_told_nothing() {
    is_told_nothing("handshake", |_| Manner::HangsUp);
}

/// A port that takes no more connections and refuses none: the kernel drops whoever tries.
struct BlackHole {
    address: SocketAddr,
    /// Of the listener and of those that wait to be accepted.
    _held: (std::net::TcpListener, Vec<TcpStream>),
}

impl BlackHole {
    fn open() -> Self {
        // Only tokio's listener can be given a length of its queue.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let listener = runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
            socket.listen(0).unwrap().into_std().unwrap()
        });
        let address = listener.local_addr().unwrap();
        let patience = Duration::from_millis(500);
        let mut waiting = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, patience) {
            waiting.push(stream);
            assert!(waiting.len() < 100, "it takes everybody");
        }
        Self { address, _held: (listener, waiting) }
    }
}

// CP-02
#[test]
fn a_control_plane_that_cannot_be_connected_to_keeps_nobody_waiting() {
    let hole = BlackHole::open();
    let mut daemon = calling(&format!("http://{}", hole.address)).set("EXECUTOR_CONCURRENCY", 1).start();
    let asked = Instant::now();
    for number in 0..10 {
        let answer = daemon.execute(&script(&format!("exec_{number}"), "echo here")).result();
        assert_eq!((&answer["stdout"], &answer["callback"]), (&"here\n".into(), &"journalled".into()));
        assert_eq!(daemon.get("/health").json()["active_executions"], 0);
    }
    // Each would take 5 s if the slot were kept for as long as somebody tries to connect.
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    for event in ["ready_deferred", "callback_deferred"] {
        daemon.eventually(event, |daemon| !daemon.events(event).is_empty());
        let line = &daemon.events(event)[0];
        assert!(
            line["error"].as_str().unwrap().starts_with("cannot connect to the control plane: "),
            "{line}"
        );
    }
    assert_eq!(daemon.get("/health").json()["outbox"]["pending"], 10);
    let asked = Instant::now();
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(143));
    assert!(asked.elapsed() < Duration::from_millis(2_500), "{:?}", asked.elapsed());
}

// CP-02
#[test]
fn a_connection_that_takes_too_long_is_said_to_have_taken_too_long() {
    let hole = BlackHole::open();
    let daemon = calling(&format!("http://{}", hole.address)).start();
    daemon.execute(&script("exec_lost", "echo lost")).result();
    for (event, count) in [("ready_deferred", 2), ("callback_deferred", 1)] {
        daemon.eventually(event, |daemon| daemon.events(event).len() >= count);
        for line in daemon.events(event) {
            let error = line["error"].as_str().unwrap();
            assert!(error.contains("timed out") || error.contains("within 5 s"), "{line}");
        }
    }
}
