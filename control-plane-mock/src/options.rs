//! How a mock is started.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use crate::Call;

/// Called for every call once it is decided, and before that when it has to wait. It must not call the mock.
pub type Printer = Arc<dyn Fn(&Call) + Send + Sync>;

#[derive(Clone)]
pub struct Options {
    /// With port 0 the system chooses one.
    pub address: SocketAddr,
    /// When there is one, every callback needs exactly this bearer token; the control routes never do.
    pub token: Option<String>,
    /// Before `/internal/…`, as in the daemon's `CONTROL_PLANE_PREFIX`: empty, or a slash and more and no slash at the end.
    pub prefix: String,
    pub print: Option<Printer>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            token: None,
            prefix: String::new(),
            print: None,
        }
    }
}

/// Without the token.
impl fmt::Debug for Options {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Options")
            .field("address", &self.address)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("prefix", &self.prefix)
            .field("print", &self.print.is_some())
            .finish()
    }
}
