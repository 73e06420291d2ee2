//! A mock in the caller's own process, for callers without tokio.
//!
//! It owns one thread, and with it the listener and all connections; dropping it ends and joins that thread.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::journal::Journal;
use crate::server::{self, Command, Port};
use crate::{Call, ExecutionView, Options, Rule, document};

/// Enough for JSON that is nested as deep as any return value, also where nothing is optimised.
const STACK: usize = 64 << 20;

/// Judging a big result must not keep a heartbeat waiting.
const WORKERS: usize = 2;

pub struct Mock {
    address: SocketAddr,
    journal: Arc<Journal>,
    commands: UnboundedSender<Command>,
    thread: Option<JoinHandle<()>>,
}

impl Mock {
    /// Listens when this returns. The error is that of the address.
    pub fn start(options: Options) -> io::Result<Self> {
        document::prepare();
        let Options { address, token, prefix, print } = options;
        let journal = Arc::new(Journal::new(prefix, token, print));
        let (commands, received) = unbounded_channel();
        let (listening, heard) = mpsc::channel();
        let inside = Arc::clone(&journal);
        let thread = std::thread::Builder::new()
            .name("control-plane-mock".to_owned())
            .spawn(move || run(address, &inside, received, &listening))?;
        let address = heard.recv().map_err(io::Error::other)??;
        Ok(Self { address, journal, commands, thread: Some(thread) })
    }

    /// The port is never 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`; the prefix is not part of it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From the next call on. `None`: no token is looked at.
    pub fn set_token(&self, token: Option<String>) {
        self.journal.set_token(token);
    }

    /// The journal, in the order in which the heads of the requests arrived. A call is here once its whole request was read.
    /// At most 200,000 calls with 256 MiB of bodies: beyond that the oldest lose their bodies, and then go.
    pub fn calls(&self) -> Vec<Call> {
        self.journal.look(<[Call]>::to_vec)
    }

    pub fn executions(&self) -> BTreeMap<String, ExecutionView> {
        self.journal.executions()
    }

    /// Adds a rule at the end; the first that matches a call wins.
    ///
    /// # Panics
    ///
    /// When the rule cannot be carried out; see [`BadRule`](crate::BadRule).
    pub fn script(&self, rule: Rule) {
        if let Err(problem) = self.journal.script(vec![rule]) {
            panic!("{problem}");
        }
    }

    /// Calls that are held or stalled stay so.
    pub fn clear_script(&self) {
        self.journal.clear_script();
    }

    /// Lets the oldest held call go on; false when there is none.
    pub fn step(&self) -> bool {
        self.journal.step()
    }

    /// Asks `look` now and after every change, until it finds something or patience is over. The mock stands still while it
    /// looks: `look` must not call the mock.
    pub fn wait_for<T>(&self, patience: Duration, look: impl FnMut(&[Call]) -> Option<T>) -> Option<T> {
        self.journal.wait_for(patience, look)
    }

    /// An outage: the listener and all connections are closed when this returns, and who connects is refused. The port stays
    /// this mock's.
    pub fn refuse_connections(&self) {
        self.command(Command::Refuse).expect("closing does not fail");
    }

    /// Ends the outage: the same port listens again when this returns.
    pub fn accept_connections(&self) {
        self.command(Command::Accept).expect("nobody else was given the port");
    }

    /// Every message that broke the document or the rules, one sentence each, with the number of its call. The first 10,000.
    pub fn violations(&self) -> Vec<String> {
        self.journal.violations()
    }

    /// Empties the journal, the executions, the violations and the memory of keys; not the script.
    pub fn forget(&self) {
        self.journal.forget();
    }

    fn command(&self, command: impl FnOnce(mpsc::Sender<io::Result<()>>) -> Command) -> io::Result<()> {
        let (done, heard) = mpsc::channel();
        self.commands.send(command(done)).map_err(io::Error::other)?;
        heard.recv().map_err(io::Error::other)?
    }
}

/// The mock's thread, from its listener's first moment to the last of its connections.
fn run(
    address: SocketAddr,
    journal: &Arc<Journal>,
    commands: UnboundedReceiver<Command>,
    listening: &mpsc::Sender<io::Result<SocketAddr>>,
) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_stack_size(STACK)
        .thread_name("control-plane-mock")
        .enable_all()
        .build();
    let serve = async || {
        let port = Port::keep(address)?;
        let listener = port.listen()?;
        // Nobody hears it when the one who starts the mock was killed meanwhile.
        listening.send(Ok(port.address())).ok();
        server::serve(Arc::clone(journal), port, listener, commands).await;
        Ok(())
    };
    if let Err(error) = runtime.and_then(|runtime| runtime.block_on(serve())) {
        listening.send(Err(error)).ok();
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        // Both fail only when the thread has ended, by a panic that was printed.
        self.commands.send(Command::Stop).ok();
        self.thread.take().map(JoinHandle::join);
    }
}

impl std::fmt::Debug for Mock {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Mock").field("address", &self.address).finish_non_exhaustive()
    }
}
