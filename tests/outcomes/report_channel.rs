//! The private pipe to the daemon, found and abused by the program: at worst its own return value is wrong.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::ask::{assert_end, run, run_all, shown, wide};

/// Finds the pipes beyond stderr that can be written to.
const FIND: &str = "import os, struct, fcntl, sys, time\n\
def pipes():\n  \
  for name in os.listdir('/proc/self/fd'):\n    \
    fd = int(name)\n    \
    try:\n      \
      if fd > 2 and os.readlink(f'/proc/self/fd/{fd}').startswith('pipe:') and fcntl.fcntl(fd, fcntl.F_GETFL) & 3 == 1: yield fd\n    \
    except OSError: pass\n\
def frame(body): return struct.pack('>I', len(body)) + body\n\
found = list(pipes())\n\
assert len(found) == 1, found\n\
report = found[0]\n\
def send(data):\n  \
  try:\n    \
    while data: data = data[os.write(report, data):]\n  \
  except OSError: pass\n";

fn after(abuse: &str, handler: &str) -> String {
    format!("{FIND}{abuse}\ndef handler(event):\n  {handler}\n")
}

const RESULT: &str = "frame(b'{\"type\":\"result\",\"value\":\"forged\"}')";

// RC-02
#[test]
fn whatever_is_written_to_the_pipe_the_end_of_the_run_is_the_daemons_word() {
    let daemon = wide();
    let abuses = [
        "send(b'garbage, not a frame at all')".to_owned(),
        "send(b'\\xff' * 100)".to_owned(),
        "send(b'\\0\\0')".to_owned(),
        "send(b'\\0\\0\\0\\x50{\"type\":\"result\"')".to_owned(),
        "send(struct.pack('>I', 2 ** 31))".to_owned(),
        "send(frame(b''))".to_owned(),
        "send(frame(b'[1]'))".to_owned(),
        "send(frame(b'{\"type\":\"result\",\"value\":NaN}'))".to_owned(),
        "send(frame(b'{\"type\":\"ready\"}'))".to_owned(),
        "send(frame(b'{\"type\":\"started\"}'))".to_owned(),
        "send(frame(b'{\"type\":\"unheard of\"}'))".to_owned(),
        "send(frame(b'\\xff\\xfe'))".to_owned(),
        "send(frame(b'[' * 100000))".to_owned(),
        format!("send({RESULT})"),
        format!("send({RESULT} * 1000)"),
        "os.close(report)".to_owned(),
        "os.dup2(2, report)".to_owned(),
        "os.dup2(os.open('/dev/null', os.O_WRONLY), report)".to_owned(),
        "for n in range(20): os.dup(report)".to_owned(),
    ];
    let codes: Vec<_> =
        abuses.iter().flat_map(|abuse| [after(abuse, "os._exit(3)"), after(abuse, "return 7")]).collect();
    let programs: Vec<_> = codes.iter().map(|code| ("python", code.as_str(), Value::Null)).collect();
    let asked = Instant::now();
    for (pair, abuse) in run_all(&daemon, &programs).chunks(2).zip(&abuses) {
        assert_end(&pair[0], "failed", 3, "exit");
        assert_end(&pair[1], "success", 0, "exit");
        let value = &pair[1]["return_value"];
        assert!([json!(7), json!("forged"), Value::Null].contains(value), "{abuse} {}", shown(&pair[1]));
        assert!(pair[1]["execution_time"].as_f64().unwrap() < 10.0);
    }
    assert!(asked.elapsed() < Duration::from_secs(30), "{:?}", asked.elapsed());
}

// RC-02
#[test]
fn a_flood_of_the_pipe_goes_nowhere() {
    let daemon = wide();
    let more = || json!({ "timeout": 3 });
    let endless = after("", "while True: os.write(report, b'x' * (1 << 20))");
    let announced = after(
        "send(struct.pack('>I', 16 << 20))",
        "sent = 0\n  try:\n    while sent < 2 << 30: sent += os.write(report, b'[' * (1 << 20))\n  except OSError: pass\n  os._exit(3)",
    );
    let results = run_all(&daemon, &[("python", &endless, more()), ("python", &announced, more())]);
    // Its own traceback says why; the pipe to say so on is broken.
    assert_end(&results[0], "failed", 1, "exit");
    assert_end(&results[1], "failed", 3, "exit");
}

// RC-02
#[test]
fn a_forged_result_does_not_hide_how_the_program_ended_nor_keep_it_alive() {
    let daemon = wide();
    let signal = after(&format!("send({RESULT})"), "os.kill(os.getpid(), 9)");
    let stays = after(&format!("send({RESULT})"), "time.sleep(60)");
    let silent = after("send(b'\\0')", "time.sleep(60)");
    let results = run_all(
        &daemon,
        &[
            ("python", &signal, Value::Null),
            ("python", &stays, Value::Null),
            ("python", &silent, json!({ "timeout": 1 })),
        ],
    );
    assert_end(&results[0], "failed", 137, "signal");
    assert_end(&results[1], "success", 0, "exit");
    assert!(results[1]["execution_time"].as_f64().unwrap() < 3.0, "{}", shown(&results[1]));
    assert_end(&results[2], "timeout", -1, "wall_timeout");
}

/// What a runner says when it stops itself, instead of ending.
const EXIT: &str = "send(frame(b'{\"type\":\"exit\",\"code\":0}'))";

/// Has a signal sent to this process by the kernel every millisecond, and by nobody inside.
const CONTINUED: &str = "import ctypes\n\
    class Event(ctypes.Structure): _fields_ = [('value', ctypes.c_void_p), ('signal', ctypes.c_int), ('notify', ctypes.c_int), ('rest', ctypes.c_char * 48)]\n\
    class Times(ctypes.Structure): _fields_ = [(name, ctypes.c_long) for name in ('s', 'ns', 'first_s', 'first_ns')]\n\
    libc, timer = ctypes.CDLL(None), ctypes.c_void_p()\n\
    assert libc.timer_create(1, ctypes.byref(Event(signal=18)), ctypes.byref(timer)) == 0\n\
    assert libc.timer_settime(timer, 0, ctypes.byref(Times(0, 1000000, 0, 1000000)), None) == 0\n";

// RC-02
#[test]
fn a_program_that_claims_to_be_over_is_over() {
    let daemon = wide();
    let busy = "n = 0\nwhile True:\n  n += 1\n  open('alive', 'w').write(str(n))";
    let claims = [
        ("it goes on", format!("{EXIT}\n{busy}")),
        ("it stops and is continued", format!("{CONTINUED}\n{EXIT}\nos.kill(os.getpid(), 19)\n{busy}")),
        (
            "a child goes on",
            format!("if os.fork() == 0:\n  {}\n{EXIT}\nos.kill(os.getpid(), 19)", busy.replace('\n', "\n  ")),
        ),
        (
            "a thread goes on",
            format!(
                "def busy():\n  {}\nimport threading\nthreading.Thread(target=busy).start()\n{EXIT}",
                busy.replace('\n', "\n  ")
            ),
        ),
    ];
    for (name, claim) in claims {
        let code = format!("{FIND}{claim}\n");
        let session = json!({ "session_id": "claims", "mode": "script" });
        let result = run(&daemon, "python", &code, &session);
        assert_end(&result, "success", 0, "exit");
        assert!(result["execution_time"].as_f64().unwrap() < 3.0, "{name}: {}", shown(&result));
        // Thirty times as long as it would take to touch the file again.
        let watch = "import os, time\nopen('alive', 'a').close()\nbefore = os.stat('alive').st_mtime_ns\ntime.sleep(0.3)\nprint(os.stat('alive').st_mtime_ns == before)";
        let watched = run(&daemon, "python", watch, &session);
        assert_eq!(watched["stdout"], "True\n", "{name}: {}", shown(&watched));
    }
}

#[test]
fn a_claim_to_be_over_does_not_hide_how_the_program_ended() {
    let daemon = wide();
    for (end, status, code, cause) in
        [("os._exit(3)", "failed", 3, "exit"), ("os.kill(os.getpid(), 9)", "failed", 137, "signal")]
    {
        let result = run(&daemon, "python", &after(EXIT, end), &Value::Null);
        assert_end(&result, status, code, cause);
    }
}

/// Starts a child that has this process go on whenever it is stopped.
const CONTINUED_BY_A_CHILD: &str = "import os, signal, time\n\
    parent = os.getpid()\n\
    child = os.fork()\n\
    while child == 0:\n  \
      os.kill(parent, signal.SIGCONT)\n  \
      time.sleep(0.0005)\n";

#[test]
fn cpu_time_after_an_earlier_stop_counts() {
    let daemon = wide();
    let stop = "os.kill(parent, signal.SIGSTOP)\n\
                os.kill(child, 9)\n\
                os.wait()\n\
                end = time.process_time() + 0.07\n\
                while time.process_time() < end: pass\n";
    // It ends as a runner does that need not end.
    let code = format!("{FIND}{CONTINUED_BY_A_CHILD}{stop}{EXIT}\nos.kill(parent, signal.SIGSTOP)");
    let result = run(&daemon, "python", &code, &json!({ "mode": "script" }));
    assert_end(&result, "success", 0, "exit");
    assert!(result["metrics"]["cpu_time_ms"].as_f64().unwrap() >= 70.0, "{}", shown(&result));
}

#[test]
fn a_program_that_was_stopped_many_times_ends_all_the_same() {
    let daemon = wide();
    // More often than the daemon is told of.
    let code = "for n in range(150): os.kill(parent, signal.SIGSTOP)\n\
                os.kill(child, 9)\n\
                os.wait()\n\
                print('done')\n\
                def handler(event): return 7";
    for mode in ["script", "handler"] {
        let result =
            run(&daemon, "python", &format!("{CONTINUED_BY_A_CHILD}{code}"), &json!({ "mode": mode }));
        assert_end(&result, "success", 0, "exit");
        assert_eq!(result["stdout"], "done\n");
    }
}

#[test]
fn a_forged_error_only_harms_its_own_run() {
    let daemon = wide();
    for (forged, status, cause) in [
        (r#"{"type":"error","kind":"exception"}"#, "failed", "exception"),
        (r#"{"type":"error","kind":"unheard of"}"#, "success", "exit"),
        (r#"{"type":"error"}"#, "success", "exit"),
        (r#"{"type":"error","kind":"exception","limit":"memory"}"#, "error", "memory_limit"),
    ] {
        let code = after(&format!("send(frame(b'{forged}'))"), "os._exit(0)");
        let result = run(&daemon, "python", &code, &Value::Null);
        assert_eq!(
            (&result["status"], &result["cause"]),
            (&json!(status), &json!(cause)),
            "{}",
            shown(&result)
        );
    }
}

// RC-02
#[test]
fn a_child_that_keeps_the_pipe_open_does_not_keep_the_run_alive() {
    let daemon = wide();
    let code = after(
        "os.set_inheritable(report, True)",
        "if os.fork() == 0:\n    os.setsid()\n    time.sleep(60)\n  return 7",
    );
    let result = run(&daemon, "python", &code, &Value::Null);
    assert_end(&result, "success", 0, "exit");
    assert_eq!(result["return_value"], 7);
    assert!(result["execution_time"].as_f64().unwrap() < 3.0, "{}", shown(&result));
}

#[test]
fn node_can_abuse_the_pipe_no_more_than_python() {
    let daemon = wide();
    let find = "const fs = require('fs');\n\
                const pipes = fs.readdirSync('/proc/self/fd').map(Number).filter((fd) => {\n  \
                  try { return fd > 2 && fs.readlinkSync('/proc/self/fd/' + fd).startsWith('pipe:') } catch { return false } });\n";
    for abuse in [
        "for (const fd of pipes) try { fs.writeSync(fd, 'garbage') } catch {}",
        "for (const fd of pipes.slice(-1)) try { fs.closeSync(fd) } catch {}",
    ] {
        for (end, status, code) in
            [("process.exit(3)", "failed", 3), ("exports.handler = () => 7", "success", 0)]
        {
            let result =
                run(&daemon, "javascript", &format!("{find}{abuse}\n{end}"), &json!({ "timeout": 10 }));
            assert_end(&result, status, code, "exit");
        }
    }
}

#[test]
fn children_of_the_program_do_not_have_the_pipe() {
    let daemon = wide();
    let list = "ls -l /proc/self/fd | grep -c pipe:";
    let python = format!(
        "import subprocess\nprint(subprocess.run({list:?}, shell=True, close_fds=False, capture_output=False))"
    );
    let node = format!("require('child_process').execSync({list:?}, {{ stdio: 'inherit' }})");
    let results = run_all(
        &daemon,
        &[
            ("python", &python, json!({ "mode": "script" })),
            ("javascript", &node, Value::Null),
            ("shell", list, Value::Null),
        ],
    );
    for result in &results {
        // stdin and stderr; ls writes to grep, which makes a third.
        assert!(
            result["stdout"].as_str().unwrap().starts_with("3\n")
                || result["stdout"].as_str().unwrap().contains("\n3\n"),
            "{}",
            shown(result)
        );
    }
}
