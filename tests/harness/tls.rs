//! TLS in front of a control plane, as it should be and as it should not be. The front keeps every byte that it was sent, so that
//! a test can say what was never sent.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// How long one side of a connection is listened to before it is the other's turn.
const TURN: Duration = Duration::from_millis(5);

/// `protocol_version`, fatal, as from a server that knows nothing newer than TLS 1.0 (RFC 5246, 7.2).
const TOO_OLD: [u8; 7] = [0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 70];

/// What an HTTP server says to somebody who speaks TLS to it.
const PLAIN_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Somebody who signs certificates.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = valid(&[], Validity::Now);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::OrganizationName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// As `SSL_CERT_FILE` wants it.
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A certificate of this authority for this name, and its key, as one PEM file.
    pub fn certificate_and_key(&self, name: &str) -> String {
        let key = KeyPair::generate().unwrap();
        let certificate = valid(&[name], Validity::Now).signed_by(&key, &self.issuer).unwrap();
        certificate.pem() + &key.serialize_pem()
    }

    /// A server with this name, and a certificate of this authority for it.
    pub fn server(&self, name: &str, validity: Validity) -> Manner {
        let key = KeyPair::generate().unwrap();
        let certificate = valid(&[name], validity).signed_by(&key, &self.issuer).unwrap();
        tls(certificate.der(), &key)
    }
}

/// A server whose certificate nobody but itself has signed.
pub fn self_signed(name: &str) -> Manner {
    let key = KeyPair::generate().unwrap();
    let certificate = valid(&[name], Validity::Now).self_signed(&key).unwrap();
    tls(certificate.der(), &key)
}

/// When a certificate holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    Now,
    NoLonger,
    NotYet,
}

fn valid(names: &[&str], validity: Validity) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    let (first, last) = match validity {
        Validity::Now => (2000, 2090),
        Validity::NoLonger => (2000, 2001),
        Validity::NotYet => (2090, 2091),
    };
    params.not_before = rcgen::date_time_ymd(first, 1, 1);
    params.not_after = rcgen::date_time_ymd(last, 1, 1);
    params
}

fn tls(certificate: &CertificateDer<'static>, key: &KeyPair) -> Manner {
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.into())
        .unwrap();
    Manner::Tls(Arc::new(config))
}

/// How a front treats who connects.
#[derive(Debug, Clone)]
pub enum Manner {
    /// Decrypts, and passes on.
    Tls(Arc<ServerConfig>),
    /// Takes what it hears for HTTP.
    Plain,
    /// Knows no TLS that is new enough.
    TooOld,
    /// Hangs up in the middle of the handshake.
    HangsUp,
}

/// What a front was sent.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    pub connections: usize,
    /// As on the wire.
    pub wire: Vec<u8>,
    pub decrypted: Vec<u8>,
}

/// Listens on 127.0.0.1. It owns a thread for itself and one for each connection; dropping it ends them.
#[derive(Debug)]
pub struct Front {
    address: SocketAddr,
    heard: Arc<Mutex<Heard>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Front {
    /// Passes on to `behind`.
    pub fn start(manner: Manner, behind: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::new(Mutex::new(Heard::default()));
        let over = Arc::new(AtomicBool::new(false));
        let door = Door { manner, behind, heard: Arc::clone(&heard), over: Arc::clone(&over) };
        let thread = std::thread::spawn(move || door.keep(&listener));
        Self { address, heard, over, thread: Some(thread) }
    }

    /// `https://localhost:PORT`
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    pub fn heard(&self) -> Heard {
        self.heard.lock().unwrap().clone()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // It waits for somebody to come.
        drop(TcpStream::connect(self.address));
        self.thread.take().map(JoinHandle::join);
    }
}

#[derive(Debug, Clone)]
struct Door {
    manner: Manner,
    behind: SocketAddr,
    heard: Arc<Mutex<Heard>>,
    over: Arc<AtomicBool>,
}

impl Door {
    fn keep(&self, listener: &TcpListener) {
        let mut guests = Vec::new();
        for stream in listener.incoming().map_while(Result::ok) {
            if self.is_over() {
                break;
            }
            self.heard.lock().unwrap().connections += 1;
            let door = self.clone();
            // How a connection ends is the business of those at its ends.
            guests.push(std::thread::spawn(move || drop(door.treat(stream))));
        }
        guests.into_iter().for_each(|guest| drop(guest.join()));
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn treat(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(TURN))?;
        let tap = Tap { stream, heard: Arc::clone(&self.heard) };
        match &self.manner {
            Manner::Tls(config) => self.pass_on(Arc::clone(config), tap),
            Manner::Plain => self.answer(tap, PLAIN_ANSWER),
            Manner::TooOld => self.answer(tap, &TOO_OLD),
            Manner::HangsUp => self.answer(tap, &[]),
        }
    }

    /// Says this to whatever it hears first, and listens to the end for what follows.
    fn answer(&self, mut tap: Tap, answer: &[u8]) -> io::Result<()> {
        let mut buffer = [0; 16 << 10];
        while !self.is_over() {
            match in_turn(tap.read(&mut buffer))? {
                Some(0) => break,
                Some(_) => {
                    tap.write_all(answer)?;
                    tap.stream.shutdown(std::net::Shutdown::Write)?;
                }
                None => {}
            }
        }
        Ok(())
    }

    fn pass_on(&self, config: Arc<ServerConfig>, tap: Tap) -> io::Result<()> {
        let connection = ServerConnection::new(config).map_err(io::Error::other)?;
        let mut outside = StreamOwned::new(connection, tap);
        let mut inside = TcpStream::connect(self.behind)?;
        inside.set_read_timeout(Some(TURN))?;
        let mut buffer = [0; 16 << 10];
        while !self.is_over() {
            match in_turn(outside.read(&mut buffer))? {
                Some(0) => break,
                Some(length) => {
                    self.heard.lock().unwrap().decrypted.extend_from_slice(&buffer[..length]);
                    inside.write_all(&buffer[..length])?;
                }
                None => {}
            }
            match in_turn(inside.read(&mut buffer))? {
                Some(0) => break,
                Some(length) => {
                    outside.write_all(&buffer[..length])?;
                    outside.flush()?;
                }
                None => {}
            }
        }
        outside.conn.send_close_notify();
        outside.flush()
    }
}

/// `None`: nothing was said in this turn.
fn in_turn(read: io::Result<usize>) -> io::Result<Option<usize>> {
    match read {
        Ok(length) => Ok(Some(length)),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A connection of which everything that is read is kept.
#[derive(Debug)]
struct Tap {
    stream: TcpStream,
    heard: Arc<Mutex<Heard>>,
}

impl Read for Tap {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.stream.read(buffer)?;
        self.heard.lock().unwrap().wire.extend_from_slice(&buffer[..length]);
        Ok(length)
    }
}

impl Write for Tap {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
