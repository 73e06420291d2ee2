//! NW: nobody outside can be reached, and the sandbox's own loopback works.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;

use conformance::{Daemon, Settings, each_start};
use serde_json::{Value, json};

use crate::support::{answer, errno, inside, outside, probe};

// NW-01, NW-02
#[test]
fn nothing_outside_can_be_reached_and_nothing_hangs() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    tcp.set_nonblocking(true).unwrap();
    udp.set_nonblocking(true).unwrap();
    let [tcp_port, udp_port] = [tcp.local_addr(), udp.local_addr()].map(|address| address.unwrap().port());
    each_start(|daemon, _| {
        let asked = json!({
            "tcp": [["127.0.0.1", tcp_port], ["127.0.0.1", daemon.address().port()], ["169.254.169.254", 80],
                    ["192.0.2.1", 80], ["2001:db8::1", 80]],
            "udp": [["192.0.2.1", 53], ["169.254.169.254", 53], ["2001:db8::1", 53]],
            "names": ["example.com", "kubernetes.default.svc"],
        });
        let seen = inside(daemon, probe!("sockets.py"), &asked);
        for kind in ["tcp", "udp", "names"] {
            for (address, answer) in seen[kind].as_object().unwrap() {
                let refused = errno(answer).unwrap_or_else(|| panic!("{address}: {answer}"));
                assert_ne!(refused, "timed out", "{address}");
                assert!(answer["seconds"].as_f64().unwrap() < 2.0, "{address}: {answer}");
            }
        }
        // Sent to its own loopback: that there is nobody, or that it is lost, is all it may learn.
        let lost = inside(daemon, probe!("sockets.py"), &json!({ "udp": [["127.0.0.1", udp_port]] }));
        assert_eq!(lost["interfaces"], json!(["lo"]));
    });
    assert!(tcp.accept().is_err(), "somebody connected");
    assert!(udp.recv(&mut [0; 16]).is_err(), "a datagram came through");

    let daemon = Daemon::default_settings();
    tcp.set_nonblocking(false).unwrap();
    let control = std::thread::scope(|scope| {
        scope.spawn(|| {
            use std::io::Write;
            tcp.accept().unwrap().0.write_all(b"hello").unwrap();
        });
        let asked = json!({
            "tcp": [["127.0.0.1", tcp_port], ["127.0.0.1", daemon.address().port()]],
            "udp": [["127.0.0.1", udp_port]],
        });
        outside(probe!("sockets.py"), &asked)
    });
    assert_eq!(control["tcp"][format!("127.0.0.1 {tcp_port}")]["done"], "hello");
    let health = &control["tcp"][format!("127.0.0.1 {}", daemon.address().port())];
    assert!(health["done"].as_str().unwrap().starts_with("HTTP/1.1 200"), "{control:#}");
    assert_eq!(udp.recv(&mut [0; 16]).unwrap(), 6);
}

// NW-03
#[test]
fn loopback_works_inside_and_is_each_runs_own() {
    let daemon = Settings::new().set("EXECUTOR_CONCURRENCY", 2).start();
    let sessions = daemon.home().join("sessions");
    // Both hold the same port at the same time, as the files say, and each hears only itself.
    let code = "import http.server, json, os, threading, time, urllib.request\n\
                me = os.environ['ME'].encode()\n\
                class Answer(http.server.BaseHTTPRequestHandler):\n\
                \x20   def do_GET(self):\n\
                \x20       self.send_response(200); self.end_headers(); self.wfile.write(me)\n\
                \x20   def log_message(self, *_): pass\n\
                server = http.server.HTTPServer(('127.0.0.1', 8080), Answer)\n\
                threading.Thread(target=server.serve_forever, daemon=True).start()\n\
                open('here', 'w').close()\n\
                while not os.path.exists('go'): time.sleep(0.01)\n\
                opened = [urllib.request.urlopen(f'http://{host}:8080').read().decode() for host in ('127.0.0.1', 'localhost')]\n\
                server.shutdown()\n\
                print(json.dumps(opened))";
    let run = |name: &str| {
        let request = json!({
            "language": "python", "mode": "script", "code": code, "session_id": name, "env_vars": { "ME": name },
        });
        answer(&daemon.execute(&request).result())
    };
    std::thread::scope(|scope| {
        let runs = ["one", "two"].map(|name| (name, scope.spawn(move || run(name))));
        daemon.eventually("both listen", |_| {
            ["one/here", "two/here"].iter().all(|here| sessions.join(here).exists())
        });
        for go in ["one/go", "two/go"] {
            fs::write(sessions.join(go), "").unwrap();
        }
        for (name, run) in runs {
            assert_eq!(run.join().unwrap(), json!([name, name]));
        }
    });
}

// NW-04: one execution at a time in a workspace, so a socket that a run left there has nobody behind it.
#[test]
fn a_socket_left_in_the_workspace_leads_nowhere() {
    let daemon = Daemon::default_settings();
    let listen = json!({
        "language": "python", "mode": "script", "session_id": "s",
        "code": "import socket\ns = socket.socket(socket.AF_UNIX)\ns.bind('s.sock')\ns.listen()",
    });
    let listened = daemon.execute(&listen).result();
    assert_eq!(listened["status"], "success", "{listened:#}");
    assert_eq!(listened["artifacts"], json!([]));
    let asked = json!({ "unix": ["/workspace/s.sock"] });
    let seen = answer(&daemon.execute(&probe!("sockets.py").in_session("s", &asked)).result());
    assert_eq!(errno(&seen["unix"]["/workspace/s.sock"]), Some("ECONNREFUSED"), "{seen:#}");

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s.sock");
    let _listener = UnixListener::bind(&path).unwrap();
    let control = outside(probe!("sockets.py"), &json!({ "unix": [path] }));
    assert_eq!(control["unix"][path.to_str().unwrap()]["done"], Value::Null, "{control:#}");
    assert_eq!(errno(&control["unix"][path.to_str().unwrap()]), None);
}
