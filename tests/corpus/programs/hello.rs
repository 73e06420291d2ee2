//! Threads, locks, channels, files, a server on the loopback, other programs, and a panic that is caught.

use std::io::{Read, Seek, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Barrier, Condvar, Mutex, RwLock, mpsc};
use std::time::{Duration, Instant};

fn main() {
    let counter = Arc::new(Mutex::new(0));
    let barrier = Arc::new(Barrier::new(16));
    let threads: Vec<_> = (0..16)
        .map(|_| {
            let (counter, barrier) = (Arc::clone(&counter), Arc::clone(&barrier));
            std::thread::spawn(move || {
                barrier.wait();
                for _ in 0..1000 {
                    *counter.lock().unwrap() += 1;
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    println!("counted {}", counter.lock().unwrap());

    let (sender, receiver) = mpsc::channel();
    for i in 0..4u64 {
        let sender = sender.clone();
        std::thread::spawn(move || (0..1000).for_each(|n| sender.send(n * i).unwrap()));
    }
    drop(sender);
    println!("received {}", receiver.iter().sum::<u64>());

    let pair = Arc::new((Mutex::new(false), Condvar::new()));
    let other = Arc::clone(&pair);
    let waiter = std::thread::spawn(move || {
        let (ready, woken) = &*other;
        let (ready, _) = woken
            .wait_timeout_while(ready.lock().unwrap(), Duration::from_secs(60), |ready| !*ready)
            .unwrap();
        *ready
    });
    *pair.0.lock().unwrap() = true;
    pair.1.notify_all();
    println!("woken {}", waiter.join().unwrap());
    println!("read {}", RwLock::new(5).read().unwrap());

    let mut file = std::fs::File::options().create(true).read(true).write(true).truncate(true).open("written").unwrap();
    file.write_all(&[7; 100_000]).unwrap();
    file.rewind().unwrap();
    let mut back = Vec::new();
    file.read_to_end(&mut back).unwrap();
    println!("file {} {}", back.len(), std::fs::copy("written", "copied").unwrap());

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        for stream in listener.incoming().take(3) {
            let mut stream = stream.unwrap();
            let mut said = String::new();
            stream.read_to_string(&mut said).unwrap();
            stream.write_all(said.to_uppercase().as_bytes()).unwrap();
        }
    });
    for word in ["one", "two", "three"] {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(word.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        println!("{answer}");
    }
    server.join().unwrap();
    println!("outside {:?}", TcpStream::connect("192.0.2.1:80").unwrap_err().kind());
    println!("name {}", std::net::ToSocketAddrs::to_socket_addrs("example.com:80").is_err());

    let mut sort = Command::new("sort").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    sort.stdin.take().unwrap().write_all(b"b\na\n").unwrap();
    println!("{:?}", String::from_utf8(sort.wait_with_output().unwrap().stdout).unwrap());
    println!("{:?}", Command::new("sh").args(["-c", "exit 3"]).status().unwrap().code());
    println!("{:?}", Command::new("no-such-program").status().unwrap_err().kind());
    // With a group of its own, which rules out the short way of starting a program.
    let mut sleeper = Command::new("sleep").arg("600").process_group(0).spawn().unwrap();
    sleeper.kill().unwrap();
    println!("{:?}", sleeper.wait().unwrap().code());

    let began = Instant::now();
    std::thread::sleep(Duration::from_millis(20));
    println!("slept {}", began.elapsed() >= Duration::from_millis(20));
    std::panic::set_hook(Box::new(|_| {}));
    println!("caught {}", std::panic::catch_unwind(|| panic!("here")).is_err());
    println!("parallel {}", std::thread::available_parallelism().is_ok());
}
