//! The program: its flags, its lines, its end.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use crate::client::Answer;
use crate::client::{Request, all};
use crate::messages::{exited, heartbeat, ready, result};

#[expect(clippy::disallowed_methods, reason = "a test of a program, far from any sandbox")]
fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_control-plane-mock"));
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
    address: SocketAddr,
}

fn start(command: &mut Command) -> Running {
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    lines.read_line(&mut first).unwrap();
    let address = first.trim_end().strip_prefix("listening on ").unwrap().parse().unwrap();
    Running { child, lines, address }
}

impl Running {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line
    }

    fn status(&self, request: &Request) -> u16 {
        Answer::parse(&all(request.send(self.address)).unwrap()).status
    }

    #[expect(clippy::disallowed_methods, reason = "a test of a program, far from any sandbox")]
    fn end(mut self, signal: &str) -> Option<i32> {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        self.child.wait().unwrap().code()
    }
}

#[test]
fn every_call_is_a_line_and_a_signal_ends_it_with_0() {
    for signal in ["-TERM", "-INT"] {
        let mut mock = start(program().args(["--listen", "127.0.0.1:0"]));
        mock.status(&ready());
        assert!(
            mock.line()
                .contains("  ready  3f1c9a7be0d2, port 8080, version 0.1.0, isolation full  → 200, accepted")
        );
        mock.status(&heartbeat("exec_1", 1));
        let line = mock.line();
        let said = "  heartbeat exec_1  run, 5041 ms, cpu 4870 ms, memory 41943040 bytes  → 200, accepted\n";
        assert!(line.ends_with(said), "{line}");
        mock.status(&result("exec_1"));
        let line = mock.line();
        assert!(line.contains("  result exec_1  success/exit, exit code 0, "), "{line}");
        mock.status(&result("exec_1"));
        assert!(mock.line().ends_with(" bytes  → 409, duplicate\n"));
        mock.status(&heartbeat("exec_1", 2));
        let line = mock.line();
        assert!(
            line.ends_with("  ! a heartbeat came after the result of exec_1, which arrived as call 3\n"),
            "{line}"
        );
        mock.status(&exited());
        assert!(mock.line().contains("  exited  unknown, error, exit code 1  → 200, accepted"));
        assert_eq!(mock.end(signal), Some(0));
    }
}

#[test]
fn settings_come_from_the_environment_and_the_token_from_a_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "from-file\n").unwrap();
    let from_file =
        start(program().env("CONTROL_PLANE_MOCK_LISTEN", "127.0.0.1:0").arg("--token-file").arg(file.path()));
    let settings = [("CONTROL_PLANE_MOCK_LISTEN", "127.0.0.1:0"), ("INTERNAL_API_TOKEN", "from-file")];
    let from_environment = start(program().envs(settings));
    for mock in [from_file, from_environment] {
        assert_eq!(mock.status(&result("exec_1")), 401);
        assert_eq!(mock.status(&result("exec_1").header("Authorization", "Bearer from-file")), 200);
        assert_eq!(mock.end("-TERM"), Some(0));
    }
}

/// What it said, in one line.
fn refused(command: &mut Command, code: i32) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert_eq!((status.code(), stdout.as_slice()), (Some(code), &b""[..]), "{said}");
    assert!(said.starts_with("control-plane-mock: "), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

#[test]
fn what_is_wrong_with_the_command_line_is_said_in_one_sentence() {
    assert!(refused(program().arg("--port"), 64).contains("--port"));
    assert!(refused(program().args(["--listen", "8090"]), 64).contains("8090"));
    assert!(refused(program().arg("--listen"), 64).contains("--listen"));
    assert!(refused(program().arg("0.0.0.0:8090"), 64).contains("0.0.0.0:8090"));
    assert!(refused(program().args(["--prefix", "api"]), 64).contains("slash"));
    assert!(refused(program().args(["--token-file", "/nowhere"]), 64).contains("/nowhere"));
    assert!(refused(program().env("INTERNAL_API_TOKEN", " "), 64).contains("INTERNAL_API_TOKEN"));
    let both = refused(program().env("INTERNAL_API_TOKEN", "secret").args(["--token-file", "/nowhere"]), 64);
    assert!(both.contains("both") && !both.contains("secret"), "{both}");
    let shown = refused(program().env("INTERNAL_API_TOKEN", "se cret"), 64);
    assert!(!shown.contains("cret"), "{shown}");
}

#[test]
fn an_address_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    assert!(
        refused(program().args(["--listen", &address]), 1).contains(&format!("cannot listen on {address}"))
    );
}

#[test]
fn help_and_version_are_answers() {
    for (flag, said) in [("--help", "--token-file"), ("--version", env!("CARGO_PKG_VERSION"))] {
        let Output { status, stdout, .. } = program().arg(flag).output().unwrap();
        assert_eq!(status.code(), Some(0));
        assert!(String::from_utf8(stdout).unwrap().contains(said));
    }
}
